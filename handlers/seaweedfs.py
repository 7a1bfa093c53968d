"""SeaweedFS: the webhook of the filer, read through the S3 gateway.

Wire format: weed/notification/webhook; filer.proto, EventNotification as JSON, which omits zero
and empty fields. Source of the set-up: notification/webhook/types.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.errors import Unreadable
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import check_text, count_or_none, epoch_or_none, find, text, text_or_none
from relay.sources.s3.settings import OwnStoreSettings, accept_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import SetupContext, Step, note

CREATED = frozenset(("create", "update", "rename"))
"""`update`: an object replaces another."""

BUCKETS = "/buckets/"
PARTS = ".uploads/"
"""The folder below each bucket for the parts of multipart uploads."""

_ENTRY = ("message", "new_entry")
_ATTRIBUTES = (*_ENTRY, "attributes")


class SeaweedSettings(OwnStoreSettings):
    """The filer sends a token; it does not sign."""

    accept: tuple[str, ...] = accept_field("signed", "bare")


class Handler(S3Storage):
    """Files below /buckets/. The records have no ETag: the first read pins the object."""

    Settings: ClassVar[type[SourceSettings]] = SeaweedSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object; none for folders and parts."""
        type_ = text(record, "event_type")
        entry = find(record, *_ENTRY)
        if type_ not in CREATED or entry is None or find(record, *_ENTRY, "is_directory"):
            return
        is_renamed = type_ == "rename"
        path = _path(record, is_renamed=is_renamed)
        bucket, _, key = path.removeprefix(BUCKETS).partition("/")
        if not path.startswith(BUCKETS) or not bucket or not key or key.startswith(PARTS):
            return
        size = count_or_none(record, *_ATTRIBUTES, "file_size")
        seconds = count_or_none(record, *_ATTRIBUTES, "mtime") or 0
        nanoseconds = count_or_none(record, *_ATTRIBUTES, "mtime_ns") or 0
        identity = f"mtime:{seconds}.{nanoseconds:09d}+{_content(record, size)}"
        # A rename keeps the modification time, which does not order it under the new name.
        time = None if is_renamed else epoch_or_none(record, *_ATTRIBUTES, "mtime")
        has_order = seconds and not is_renamed
        order = f"mtime:{seconds:020d}.{nanoseconds:020d}" if has_order else ""
        yield Event(ObjectRef(bucket, key, size=size), identity, type_, time, order)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def _content(record: Mapping[str, Any], size: int | None) -> str:
    """The MD5, else the size. Unreadable if the record has neither MD5 nor mtime."""
    content = text_or_none(record, *_ATTRIBUTES, "md5")
    if content is None and count_or_none(record, *_ATTRIBUTES, "mtime") is None:
        raise Unreadable(
            "record.nameless_version",
            Localized(
                "The record has no mtime and no md5: uploads of the object cannot be distinguished",
                "记录中没有 mtime 和 md5：无法区分该对象的不同上传",
            ),
        )
    return content or str(size or 0)


def _path(record: Mapping[str, Any], *, is_renamed: bool) -> str:
    """The file's full path. After a rename, `key` is the old path."""
    if not is_renamed:
        return text(record, "key")
    folder, name = text(record, "message", "new_parent_path"), text(record, *_ENTRY, "name")
    return check_text(f"{folder.rstrip('/')}/{name}", *_ENTRY, "name")


def setup_steps(context: SetupContext) -> Iterator[Step]:
    token = context.reference("token")
    prefixes = ", ".join(f'"/buckets/{bucket}/"' for bucket in context.buckets)
    yield Step(
        Localized(
            "Configure the filer, in its folder, ~/.seaweedfs or /etc/seaweedfs. Replace "
            f"{token} by the token, then restart the filer",
            f"配置 filer（位于其目录、~/.seaweedfs 或 /etc/seaweedfs）：将 {token} 替换为 token，"
            "然后重启 filer",
        ),
        "toml",
        "[notification.webhook]\nenabled = true\n"
        f'endpoint = "{context.url}"\nbearer_token = "{token}"\n'
        'event_types = ["create", "update", "rename"]\n'
        f"path_prefixes = [{prefixes}]\nmax_retries = 10\n"
        "backoff_seconds = 3\nmax_backoff_seconds = 60\n",
        "notification.toml",
    )
    yield note(
        Localized(
            "The filer keeps pending notifications in memory and gives up after max_retries: set "
            "scan_every, so that a scan finds lost uploads",
            "filer 只在内存中保留待发送的通知，重试次数用尽即放弃：请设置 scan_every 以便扫描补漏",
        )
    )
