"""What Azure Event Grid says about a new blob, in its own schema or as a CloudEvent.

Wire format: Azure Event Grid, "Azure Blob Storage as an Event Grid source".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from relay.errors import Unreadable
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none, wrong_field

CREATED = "Microsoft.Storage.BlobCreated"
RENAMED = "Microsoft.Storage.BlobRenamed"

COMPLETE = frozenset(("PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"))
"""The operations after which a blob is complete. CreateFile and SftpCreate announce an empty one.
CopyBlob may be told when the copy begins (Data Lake): see `_COPY`."""

RENAMES = frozenset(("RenameFile", "SftpRename"))

_COPY = "CopyBlob"
"""A copy that was only begun changes on: what it is now, in size and etag, says nothing of what it
will be. So it is not pinned, and waited for when it is read (x-ms-copy-status)."""

_SUBJECT = re.compile(r"/blobServices/[^/]+/containers/([^/]+)/blobs/(.+)", re.DOTALL)


def events(record: Mapping[str, Any], *, renames: bool = False) -> Iterator[Event]:
    """The event about a blob; none when it is not complete. Raises Unreadable.

    `renames`: whether a blob that was renamed counts as one that was created under its new name.
    """
    is_cloud = "specversion" in record
    type_ = text(record, "type" if is_cloud else "eventType")
    wanted = {CREATED: COMPLETE, RENAMED: RENAMES if renames else ()}.get(type_, ())
    if not wanted or (api := text(record, "data", "api")) not in wanted:
        return
    container, key = _named(text(record, "subject"))
    etag = unquoted(text_or_none(record, "data", "eTag"))
    size = count_or_none(record, "data", "contentLength")
    time = time_or_none(record, "time" if is_cloud else "eventTime")
    pinned = (None, None) if api == _COPY else (etag, size)
    ref = ObjectRef(container, key, etag=pinned[0], size=pinned[1])
    sequencer = text_or_none(record, "data", "sequencer")
    order = f"azure:{sequencer}" if sequencer else ""
    yield Event(ref, _identity(etag, sequencer, time), f"{type_}:{api}", time, order)


def unquoted(etag: str | None) -> str | None:
    """An ETag without its quotes, as it comes or not."""
    return (etag.strip('"') or None) if etag else None


def _named(subject: str) -> tuple[str, str]:
    """Container and key, which stand in the subject as they are."""
    found = _SUBJECT.fullmatch(subject)
    if not found:
        raise wrong_field(("subject",), "names no blob", "未指明 blob")
    return found[1], found[2]


def _identity(etag: str | None, sequencer: str | None, time: datetime | None) -> str:
    if etag:
        return f"etag:{etag}+{sequencer}" if sequencer else f"etag:{etag}"
    if sequencer:
        return f"sequencer:{sequencer}"
    if time:
        return f"etag:@{time.isoformat()}"
    raise Unreadable(
        "record.nameless_version",
        Localized(
            "The event has no eTag, sequencer or time: one upload of the blob cannot be told from "
            "another",
            "事件中没有 eTag、sequencer 或时间：无法区分该 blob 的不同上传",
        ),
    )
