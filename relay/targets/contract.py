"""Target: the contract of a place where archives are imported. Four questions, no policy.

`relay/targets/<kind>.py` with a class `Target`; third parties by entry point `relay.targets` or
dotted path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from relay.archive.inspect import ArchiveReport
from relay.config.load import TargetSettings
from relay.model import Json
from relay.outbound.session import HttpClientFactory


class Archive(Protocol):
    """The archive as a target sees it: looked at, not loaded, readable as often as needed."""

    name: str
    size: int
    report: ArchiveReport

    @property
    def code_size(self) -> int | None:
        """Bytes of the inner code file, unpacked; None: the archive is no export."""

    def chunks(self) -> Iterator[bytes]:
        """The archive's bytes, checked on the way (CRC, sizes).

        Raises PermanentFailure before the last chunk when they are wrong.
        """

    def code(self) -> Iterator[bytes]:
        """The inner code file's bytes (CodeFileName names the entry), inflated and checked."""

    def code_digest(self) -> str:
        """SHA-512 (hex) of the inner code file; reads it when no earlier pass did."""

    @property
    def known_digest(self) -> str | None:
        """The same, when an earlier pass computed it."""


@dataclass(frozen=True, slots=True)
class FunctionName:
    """What to import as what."""

    func_name: str
    package: str


@dataclass(frozen=True, slots=True)
class ExistingFunction:
    """What the target holds under a name now. `digest`: SHA-512 (hex) of the code, if it says."""

    urn: str
    func_name: str
    package: str
    digest: str | None = None
    code_size: int | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What the target answered to a successful call. `answer`: the fields worth keeping."""

    urn: str
    func_name: str
    package: str
    answer: Json = field(default_factory=dict)


Progress = Callable[[int], None]
"""Told how many bytes of the archive have gone out since the last call."""


class Target(ABC):
    """One configured target. Made once per process, used by many threads at once."""

    Settings: ClassVar[type[TargetSettings]] = TargetSettings

    def __init__(self, name: str, settings: Any, outbound: HttpClientFactory) -> None:
        self.name = name
        self.settings = settings
        self.outbound = outbound

    @abstractmethod
    def check(self, order: FunctionName, report: ArchiveReport) -> None:
        """Raises PermanentFailure when the target would refuse its names or its size. No I/O."""

    @abstractmethod
    def held(self, order: FunctionName) -> ExistingFunction | None:
        """What the target holds under the order's name, in any package. Changes nothing."""

    @abstractmethod
    def create(self, order: FunctionName, archive: Archive, progress: Progress) -> ImportResult:
        """Imports the archive as a new function.

        Raises NameTaken, PermanentFailure, TemporaryFailure, or Ambiguous when it may have
        happened all the same.
        """

    @abstractmethod
    def replace(self, held: ExistingFunction, archive: Archive, progress: Progress) -> ImportResult:
        """Brings what is held to the archive's code and configuration. Safe to repeat.

        Errors as for `create`, without NameTaken.
        """

    def ready(self) -> str | None:
        """Tries the connection and says what it saw; None: there is no way to try.

        Changes nothing. Raises the errors of the tree.
        """
        return None

    def close(self) -> None:
        """Gives connections back."""
