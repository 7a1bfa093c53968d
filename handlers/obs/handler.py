"""Huawei Cloud OBS: events through SMN or EventGrid, read by the S3 protocol.

Wire formats: OBS user guide, "Event notification messages" (3.0 and 2.0); an EventGrid event
captured in 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.handlers.obs.setup import setup_steps
from relay.model import Event, ObjectRef
from relay.sources.fields import text, text_or_none, time_or_none
from relay.sources.s3.records import (
    CREATED,
    check_version,
    hex_order,
    is_test_event,
    parse_object,
    request_id,
    unwrap_record,
    upload_identity,
)
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accept_field, addressing_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import SetupContext, Step

TYPE = "obs:dwr:"
"""The prefix of EventGrid's event types for objects; their case varies."""

_CREATED = frozenset(name.lower() for name in CREATED)
_MIN_SEQUENCER = 16
"""Digits of a real sequencer; EventGrid's events all have "1"."""


class ObsSettings(CloudStoreSettings):
    """OBS rejects the bucket in the path (403, or 404 for existing objects).

    `key_encoding`: auto means URL-encoded, as SMN sends keys, and EventGrid unless the
    subscription's objectKeyEncode is off; set raw in that case.
    """

    url_template: ClassVar[str] = "https://obs.{region}.myhuaweicloud.com"
    accept: tuple[str, ...] = accept_field("smn", "eventgrid", "signed", "bare")
    addressing_style: Addressing = addressing_field("virtual")


class Handler(S3Storage):
    """OBS's records of both versions, and EventGrid's events that contain such a record."""

    Settings: ClassVar[type[SourceSettings]] = ObsSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        is_event = "specversion" in record
        if is_test_event(record) or (is_event and not _is_of_object(record)):
            return
        inner = unwrap_record(record)
        name = text(inner, "eventName").removeprefix("s3:")
        if name.lower() not in _CREATED:
            return
        check_version(inner, "2", "3")
        block = "obs" if "obs" in inner else "s3"
        ref = parse_object(inner, block, self.settings.key_encoding)
        upload = ref.version
        if upload and upload.endswith("null"):
            ref = replace(ref, version=None)  # an unversioned bucket: it pins nothing
        # EventGrid's eventTime is local time marked as UTC.
        time = time_or_none(record, "time" if is_event else "eventTime")
        sequencer = text_or_none(inner, block, "object", "sequencer") or ""
        order = hex_order(sequencer) if len(sequencer) >= _MIN_SEQUENCER else ""
        identity = upload_identity(ref, time, upload=_upload(inner, ref, upload, order))
        yield Event(ref, identity, name, time, order)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def _is_of_object(event: Mapping[str, Any]) -> bool:
    """Whether the event announces a complete object; events of the audit trail never do."""
    type_ = text(event, "type").lower()
    return type_.startswith(TYPE) and type_.removeprefix(TYPE) in _CREATED


def _upload(
    record: Mapping[str, Any], ref: ObjectRef, version: str | None, order: str
) -> str | None:
    """The same identity for SMN and EventGrid: the request, if it is known."""
    if request := request_id(record):
        return f"request:{request}"
    if version:
        return f"upload:{version}"
    return f"sequencer:{order}+{ref.etag or ''}" if order else None
