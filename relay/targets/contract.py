"""The contract of a target: the service into which archives are imported as functions.

A target answers questions and makes calls; it decides no policy. Each folder of `relay/targets/` is
a built-in kind and has a class `Target`. Another package adds a kind by an entry point in the group
`relay.targets`, or the operator sets `kind` to the dotted path of the class.
`relay.testing.target_suite.TargetSuite` checks that a target keeps this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import ArchiveReport
from relay.config.load import TargetSettings
from relay.errors import PermanentFailure
from relay.model import Difference, Json
from relay.outbound.session import HttpClientFactory
from relay.targets.changes import ChangeGuard, FunctionName

__all__ = [
    "NO_DIFFERENCES",
    "NO_OPTIONS",
    "Archive",
    "ChangeGuard",
    "Differences",
    "ExistingFunction",
    "FunctionName",
    "ImportResult",
    "Progress",
    "Target",
    "UpdateOptions",
]

Archive = CheckedArchive
"""An inspected zip whose bytes are streamed on demand, any number of times."""


@dataclass(frozen=True, slots=True)
class ExistingFunction:
    """A function that exists at the target. `digest`: SHA-512 (hex) of the code, if reported."""

    urn: str
    func_name: str
    package: str
    digest: str | None = None
    code_size: int | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The outcome of a successful import, as the target reported it.

    `answer`: the response fields worth storing, such as `digest` and `code_size`.
    """

    urn: str
    func_name: str
    package: str
    answer: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """The options of a route for the update of an existing function.

    `replace_environment`: an export without variables empties the function's environment.
    `known_digest`: the digest that the target reports for this archive's code, if known.
    """

    replace_environment: bool = False
    known_digest: str | None = None


NO_OPTIONS = UpdateOptions()


@dataclass(frozen=True, slots=True)
class Differences:
    """The settings in which an existing function differs from an archive with the same name.

    `fields`: the settings that an update would change. `not_applied`: the names of settings of the
    archive that an update ignores. `unknown`: the names of settings of the function that an update
    may reset. `not_compared`: the names of settings of the archive whose values the target does not
    show; an update sends them only together with `fields`. `refusal`: why the target would refuse
    the update.
    """

    fields: tuple[Difference, ...] = ()
    not_applied: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    refusal: PermanentFailure | None = None


NO_DIFFERENCES = Differences()


Progress = Callable[[int], None]
"""Called with the number of archive bytes sent since the last call."""


class Target(ABC):
    """One configured target, created once per process and shared by all threads.

    A subclass implements `check`, `held`, `create` and `replace`, and overrides `ready` and
    `close` where it has connections. Errors are those of `relay.errors`: PermanentFailure if a
    retry cannot help, TemporaryFailure if it can, Throttled if all imports have to wait.

    The constructor stores its arguments and does no I/O. A wrapper around another target has the
    `name`, `settings` and `outbound` of that target and forwards all eight methods.
    """

    Settings: ClassVar[type[TargetSettings]] = TargetSettings
    """The model of the target's section in relay.toml."""

    def __init__(self, name: str, settings: Any, outbound: HttpClientFactory) -> None:
        self.name = name
        self.settings = settings
        self.outbound = outbound

    @abstractmethod
    def check(self, function: FunctionName, report: ArchiveReport) -> None:
        """Raise PermanentFailure if the target would reject the name or the size. Does no I/O."""

    @abstractmethod
    def held(self, function: FunctionName) -> ExistingFunction | None:
        """Return the existing function of that name, in any package. Changes nothing."""

    @abstractmethod
    def create(
        self, function: FunctionName, archive: Archive, changes: ChangeGuard, progress: Progress
    ) -> ImportResult:
        """Import the archive as a new function, by a call of `changes`.

        Raises NameTaken if the name exists, and OutcomeUnknown if the response was lost after the
        import may have taken effect.
        """

    @abstractmethod
    def replace(
        self,
        existing: ExistingFunction,
        archive: Archive,
        changes: ChangeGuard,
        progress: Progress,
        options: UpdateOptions = NO_OPTIONS,
    ) -> ImportResult:
        """Update an existing function to the archive's code and configuration.

        Every call that changes something goes through `changes`. Must be safe to repeat. Raises
        the same errors as `create`, except NameTaken; `effect` of an error and `effect` in the
        answer name what was changed.
        """

    def differences(
        self,
        existing: ExistingFunction,  # noqa: ARG002 - part of the contract
        archive: Archive,  # noqa: ARG002
        options: UpdateOptions = NO_OPTIONS,  # noqa: ARG002
    ) -> Differences:
        """Compare the configuration of an existing function with the archive's. Changes nothing."""
        return NO_DIFFERENCES

    def configuration_digest(self, existing: ExistingFunction) -> str | None:  # noqa: ARG002
        """Return the digest of a call that would write the function's configuration as it is now.

        It is compared with the digest that a call of `replace` recorded, to find out whether the
        call took effect. None if the target cannot know. Changes nothing.
        """
        return None

    def ready(self) -> str | None:
        """Test the connection and describe the result, or return None if no test exists.

        Changes nothing. Raises RelayError if the target cannot be used.
        """
        return None

    def close(self) -> None:
        """Release connections."""
