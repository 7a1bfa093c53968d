"""StorageHandler: the contract of a storage. `parse` and `open` are required, no more.

A handler is one file: `handlers/<kind>.py` with a class `Handler`. It imports `relay` and its SDK,
nothing else of ours, and lets no exception of its SDK out: everything raised is in the tree of
`relay.errors`.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Protocol

from relay.config.load import SourceSettings
from relay.model import Event, ObjectInfo, ObjectRef, ScanCursor
from relay.sources.setup.steps import SetupChange, SetupContext, Step, generic_steps


class ObjectStream(Protocol):
    """Bytes of one object, in order. `info` describes the whole object, not only the range."""

    info: ObjectInfo

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" only at the end of the range.

        TemporaryFailure when the connection breaks or ends early.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """One message of a source's queue: the bytes to accept, and the receipt that deletes it."""

    body: bytes
    receipt: str

    @classmethod
    def from_text(cls, text: str, receipt: str) -> QueueMessage:
        """From a queue that holds text: a notification as it is, or in base64. JSON needs none,
        and no base64 looks like JSON."""
        if text.lstrip()[:1] not in ("{", "["):
            try:
                return cls(base64.b64decode(text, validate=True), receipt)
            except ValueError:
                pass  # not encoded: it is the text itself
        return cls(text.encode("utf-8", "surrogatepass"), receipt)


class Queue(Protocol):
    """A place to pull notifications from, instead of or beside the hook."""

    def receive(self, wait: float) -> list[QueueMessage]:
        """Waits up to `wait` seconds; [] when none came. TemporaryFailure: not reachable."""

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Called after the messages were stored durably, never before."""

    def close(self) -> None: ...


PAGE = 1000
"""Objects in one page of a scan: as many as S3 lists in one call."""


@dataclass(frozen=True, slots=True)
class ScanPage:
    """A page of a scan: the events of its objects, and how many objects were looked at for them.

    `cursor`: where a later scan goes on. None: this was the last page, or nothing can go on here.
    """

    events: tuple[Event, ...]
    listed: int
    cursor: ScanCursor | None = None


class StorageHandler(ABC):
    """One configured source. Made once per process, used by many threads at once."""

    Settings: ClassVar[type[SourceSettings]] = SourceSettings

    announces: ClassVar[bool] = True
    """Whether the storage announces its objects itself; else silence means nothing."""

    def __init__(self, name: str, settings: Any) -> None:
        """`name` is the source's name in relay.toml; `settings` is of this class's `Settings`."""
        self.name = name
        self.settings = settings

    @abstractmethod
    def parse(self, record: Mapping[str, Any]) -> Iterable[Event]:
        """The events in one unwrapped record; none when it announces no complete object.

        Reads only the fields it needs. Raises Unreadable when one of them is missing or of a
        wrong type.
        """

    @abstractmethod
    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        """The bytes [start, end) of exactly the version that `ref` pins; None: to the end.

        Raises Gone (not there), Superseded (there, but not the pinned bytes), PermanentFailure
        (not allowed), TemporaryFailure (not reachable).
        """

    def stat(self, ref: ObjectRef) -> ObjectInfo:
        """Size, etag and version of the object, pinned as in `open`; the same errors."""
        stream = self.open(ref, 0, 1)
        stream.close()
        return stream.info

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """The objects that are there now, modified at or after `since`. Default: cannot list."""
        return iter(())

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """The same, page by page, from `after` on; `limit`: no more objects need be looked at.

        Override it where the storage lists in an order that stays: then scans are bounded, and go
        on where they were cut off. This one makes pages of `scan`, which begins anew each time.
        """
        events = iter(self.scan(since))
        while batch := tuple(islice(events, PAGE)):
            yield ScanPage(batch, len(batch))

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        """The event of an object that a person (a submission) or a scan came upon."""
        identity = f"etag:{info.etag}@{info.modified.isoformat() if info.modified else ''}"
        identity = f"version:{info.version}" if info.version else identity
        pinned = ObjectRef(ref.bucket, ref.key, info.version or ref.version, info.etag, info.size)
        return Event(pinned, identity, "found", info.modified)

    def queue(self) -> Queue | None:
        """The queue to pull from, or None. Each call opens a new one."""
        return None

    def ready(self) -> str | None:
        """Tries the connection and says what worked; None: there is no way to try.

        For `relay check --connect`. Changes nothing. Raises as `open` does.
        """
        return None

    def setup(self, context: SetupContext) -> Iterable[Step]:
        """What to do at the storage so that its notifications come in at the context.

        For `relay sources setup`. Names secrets, never holds one. Default: what any storage needs.
        """
        return generic_steps(context)

    def changes(self, context: SetupContext) -> Iterator[SetupChange]:
        """The same as far as it can be done from here, in order, for `--apply`. Default: nothing.

        Each is looked at and made before the next is asked for. Raises as `open` does.
        """
        return iter(())

    def close(self) -> None:
        """Gives connections back."""
