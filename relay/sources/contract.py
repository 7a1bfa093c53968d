"""StorageHandler: the contract of a storage. Only `parse` and `open` are required.

A handler is a class `Handler` in `handlers/<kind>.py` or in a folder of that name. It raises errors
of the tree in `relay.errors` only; SDK exceptions do not leave the handler.
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
    """The bytes of a range of an object. `info` describes the whole object."""

    info: ObjectInfo

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; b"" only at the end of the range.

        TemporaryFailure when the connection breaks or ends early.
        """

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message of a source's queue, and the receipt with which it is deleted."""

    body: bytes
    receipt: str

    @classmethod
    def from_text(cls, text: str, receipt: str) -> QueueMessage:
        """Create a message from text that may be in base64. No base64 text looks like JSON."""
        if text.lstrip()[:1] not in ("{", "["):
            try:
                return cls(base64.b64decode(text, validate=True), receipt)
            except ValueError:
                pass  # plain text
        return cls(text.encode("utf-8", "surrogatepass"), receipt)


class Queue(Protocol):
    """A queue that notifications are pulled from, instead of or in addition to the hook."""

    def receive(self, wait: float) -> list[QueueMessage]:
        """Wait up to `wait` seconds for messages; TemporaryFailure when it is unreachable."""

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Delete messages. Called only after they were stored durably."""

    def close(self) -> None: ...


PAGE = 1000
"""Objects per page of a scan, as many as S3 lists per call."""


@dataclass(frozen=True, slots=True)
class ScanPage:
    """A page of a scan.

    `listed`: the number of objects read for the events. `cursor`: where a later scan continues;
    None for the last page, or if the storage cannot continue here.
    """

    events: tuple[Event, ...]
    listed: int
    cursor: ScanCursor | None = None


class StorageHandler(ABC):
    """A configured source. Created once per process; used by many threads at once."""

    Settings: ClassVar[type[SourceSettings]] = SourceSettings

    announces: ClassVar[bool] = True
    """Whether the storage sends notifications. If not, Relay does not warn about silence."""

    queue_settings: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that turn on `queue`: it is polled if any of them has a value.

    Leave it empty if `queue` needs no setting. Used for the advice of `relay check`.
    """

    def __init__(self, name: str, settings: Any) -> None:
        """`name` is the source's name in relay.toml; `settings` is of this class's `Settings`."""
        self.name = name
        self.settings = settings

    @abstractmethod
    def parse(self, record: Mapping[str, Any]) -> Iterable[Event]:
        """Return the events of an unwrapped record; none if it announces no complete object.

        Read only the fields that are needed. Raise Unreadable when a field is missing or of a
        wrong type.
        """

    @abstractmethod
    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        """Open the bytes [start, end) of the version that `ref` pins; None means to the end.

        Raises Gone (the storage's own error code says that there is no such object), Superseded
        (another version), PermanentFailure (access denied), TemporaryFailure (unreachable, or a 404
        that may come from a proxy).
        """

    def stat(self, ref: ObjectRef) -> ObjectInfo:
        """Return size, etag and version of the object. Pinned and with errors as in `open`."""
        stream = self.open(ref, 0, 1)
        stream.close()
        return stream.info

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """List the objects modified at or after `since`. Default: the storage cannot list."""
        return iter(())

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """List as `scan`, in pages, starting at `after`; about `limit` objects are enough.

        Override this if the storage lists in a stable order. Scans are then bounded and continue
        where they stopped. The default makes pages of `scan`, which starts from the beginning.
        """
        events = iter(self.scan(since))
        while batch := tuple(islice(events, PAGE)):
            yield ScanPage(batch, len(batch))

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        """Create the event of an object from a submission or a scan."""
        identity = f"etag:{info.etag}@{info.modified.isoformat() if info.modified else ''}"
        identity = f"version:{info.version}" if info.version else identity
        pinned = ObjectRef(ref.bucket, ref.key, info.version or ref.version, info.etag, info.size)
        return Event(pinned, identity, "found", info.modified)

    def queue(self) -> Queue | None:
        """Open the queue to pull from, None if there is none."""
        return None

    def ready(self) -> str | None:
        """Test the connection for `relay check --connect`; return what worked.

        Changes nothing. Returns None if there is nothing to test. Raises as `open`.
        """
        return None

    def setup(self, context: SetupContext) -> Iterable[Step]:
        """Return the steps that make the storage notify Relay.

        For `relay sources setup`. The steps name secrets and do not contain them. The default
        steps fit any storage.
        """
        return generic_steps(context)

    def changes(self, context: SetupContext) -> Iterator[SetupChange]:
        """Yield the steps of `setup` that Relay can do itself, for `--apply`. Default: none.

        Each change is checked and applied before the next is requested. Raises as `open`.
        """
        return iter(())

    def close(self) -> None:
        """Release connections."""
