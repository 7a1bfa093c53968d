"""Parsing of Event Grid events about blobs, in the Event Grid or the CloudEvents schema.

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
"""The operations after which a blob is complete. CreateFile and SftpCreate announce an empty blob.
Data Lake may send CopyBlob at the start of the copy: see `_COPY`."""

RENAMES = frozenset(("RenameFile", "SftpRename"))

_COPY = "CopyBlob"
"""Size and ETag of a running copy still change, so the event does not pin the blob; a read waits
for the copy to finish (x-ms-copy-status)."""

_SUBJECT = re.compile(r"/blobServices/[^/]+/containers/([^/]+)/blobs/(.+)", re.DOTALL)


def parse_events(record: Mapping[str, Any], *, renames: bool = False) -> Iterator[Event]:
    """The event about a complete blob, if any. Raises Unreadable.

    `renames`: whether a renamed blob counts as a new blob.
    """
    is_cloud = "specversion" in record
    type_ = text(record, "type" if is_cloud else "eventType")
    operations = {CREATED: COMPLETE, RENAMED: RENAMES if renames else ()}.get(type_, ())
    if not operations or (api := text(record, "data", "api")) not in operations:
        return
    container, key = _parse_subject(text(record, "subject"))
    etag = strip_quotes(text_or_none(record, "data", "eTag"))
    size = count_or_none(record, "data", "contentLength")
    time = time_or_none(record, "time" if is_cloud else "eventTime")
    pinned = (None, None) if api == _COPY else (etag, size)
    ref = ObjectRef(container, key, etag=pinned[0], size=pinned[1])
    sequencer = text_or_none(record, "data", "sequencer")
    order = f"azure:{sequencer}" if sequencer else ""
    yield Event(ref, _identity(etag, sequencer, time), f"{type_}:{api}", time, order)


def strip_quotes(etag: str | None) -> str | None:
    """An ETag without quotes; None for an empty ETag."""
    return (etag.strip('"') or None) if etag else None


def _parse_subject(subject: str) -> tuple[str, str]:
    """Container and key, which the subject contains unencoded."""
    match = _SUBJECT.fullmatch(subject)
    if not match:
        raise wrong_field(("subject",), "does not name a blob", "未指明 blob")
    return match[1], match[2]


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
            "The event has no eTag, sequencer or time: uploads of the blob cannot be distinguished",
            "事件中没有 eTag、sequencer 或时间：无法区分该 blob 的不同上传",
        ),
    )
