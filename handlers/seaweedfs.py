"""SeaweedFS: its filer's webhook; read by its S3 gateway.

Wire format: weed/notification/webhook, and filer.proto's EventNotification as JSON: what is zero
or empty is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.errors import Unreadable
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import check_text, count_or_none, epoch_or_none, find, text, text_or_none
from relay.sources.s3.settings import OwnStoreSettings, accepts
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.s3_stores import seaweedfs
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(("create", "update", "rename"))
"""`update`: an object that replaces another."""

BUCKETS = "/buckets/"
PARTS = ".uploads/"
"""Where the gateway keeps the parts of multipart uploads, below each bucket."""

_ENTRY = ("message", "new_entry")
_ATTRIBUTES = (*_ENTRY, "attributes")


class SeaweedSettings(OwnStoreSettings):
    """The filer shows a token; it signs nothing."""

    accept: tuple[str, ...] = accepts("signed", "bare")


class Handler(S3Storage):
    """What happens to files below /buckets/. It tells no ETag: the first look pins the object."""

    Settings: ClassVar[type[SourceSettings]] = SeaweedSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event about a complete object; none about folders, parts and what is elsewhere."""
        kind = text(record, "event_type")
        entry = find(record, *_ENTRY)
        if kind not in CREATED or entry is None or find(record, *_ENTRY, "is_directory"):
            return
        place = _place(record, is_renamed=kind == "rename")
        bucket, _, key = place.removeprefix(BUCKETS).partition("/")
        if not place.startswith(BUCKETS) or not bucket or not key or key.startswith(PARTS):
            return
        size = count_or_none(record, *_ATTRIBUTES, "file_size")
        made = _Made.of(record, size)
        # A file that was renamed is new under this name, but keeps the time that it was made.
        time = None if kind == "rename" else epoch_or_none(record, *_ATTRIBUTES, "mtime")
        order = "" if kind == "rename" else made.order
        yield Event(ObjectRef(bucket, key, size=size), made.identity, kind, time, order)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return seaweedfs(door)


@dataclass(frozen=True, slots=True)
class _Made:
    """When the file was made, and what its content is known by."""

    seconds: int
    nanoseconds: int
    content: str

    @classmethod
    def of(cls, record: Mapping[str, Any], size: int | None) -> _Made:
        seconds = count_or_none(record, *_ATTRIBUTES, "mtime")
        content = text_or_none(record, *_ATTRIBUTES, "md5")
        if seconds is None and content is None:
            raise Unreadable(
                "record.nameless_version",
                Localized(
                    "The record has no mtime and no md5: one upload of the object cannot be told "
                    "from another",
                    "记录中没有 mtime 和 md5: 无法区分该对象的不同上传",
                ),
            )
        nanoseconds = count_or_none(record, *_ATTRIBUTES, "mtime_ns") or 0
        return cls(seconds or 0, nanoseconds, content or str(size or 0))

    @property
    def identity(self) -> str:
        return f"mtime:{self.seconds}.{self.nanoseconds:09d}+{self.content}"

    @property
    def order(self) -> str:
        return f"mtime:{self.seconds:020d}.{self.nanoseconds:020d}" if self.seconds else ""


def _place(record: Mapping[str, Any], *, is_renamed: bool) -> str:
    """The whole path. A rename's `key` is where the file was."""
    if not is_renamed:
        return text(record, "key")
    folder, name = text(record, "message", "new_parent_path"), text(record, *_ENTRY, "name")
    return check_text(f"{folder.rstrip('/')}/{name}", *_ENTRY, "name")
