"""Huawei Cloud OBS: told by SMN or EventGrid, read by the S3 protocol.

Wire formats: OBS user guide, "Event notification messages" (3.0 and 2.0); an event of EventGrid's
captured in 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.handlers.obs.setup import obs
from relay.model import Event, ObjectRef
from relay.sources.fields import text, text_or_none, time_or_none
from relay.sources.s3.records import (
    CREATED,
    check_version,
    hex_order,
    identity_of,
    is_test,
    object_in,
    request_of,
    said_in,
)
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accepts, addressed
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import SetupContext, Step

TYPE = "obs:dwr:"
"""How the types of EventGrid's events about objects begin; their letters' case is mixed."""

_CREATED = frozenset(one.lower() for one in CREATED)
_SHORTEST = 16
"""Digits of a sequencer that is one; EventGrid's events all have "1"."""


class ObsSettings(CloudStoreSettings):
    """OBS refuses its own domain names with the bucket in the path (403, or 404 for what is there).

    `key_encoding`: auto is url-encoded, as SMN always has it, and EventGrid unless the
    subscription's objectKeyEncode is off; then it is raw.
    """

    place: ClassVar[str] = "https://obs.{region}.myhuaweicloud.com"
    accept: tuple[str, ...] = accepts("smn", "eventgrid", "signed", "bare")
    addressing_style: Addressing = addressed("virtual")


class Handler(S3Storage):
    """OBS's records of both versions, and EventGrid's events with such a record in them."""

    Settings: ClassVar[type[SourceSettings]] = ObsSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        is_event = "specversion" in record
        if is_test(record) or (is_event and not _is_of_object(record)):
            return
        said = said_in(record)
        name = text(said, "eventName").removeprefix("s3:")
        if name.lower() not in _CREATED:
            return
        check_version(said, "2", "3")
        block = "obs" if "obs" in said else "s3"
        ref = object_in(said, block, self.settings.key_encoding)
        upload = ref.version
        if upload and upload.endswith("null"):
            ref = replace(ref, version=None)  # the bucket keeps no versions: it pins nothing
        # What EventGrid has in eventTime is local time that says it is UTC.
        time = time_or_none(record, "time" if is_event else "eventTime")
        sequencer = text_or_none(said, block, "object", "sequencer") or ""
        order = hex_order(sequencer) if len(sequencer) >= _SHORTEST else ""
        identity = identity_of(ref, time, upload=_upload(said, ref, upload, order))
        yield Event(ref, identity, name, time, order)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return obs(door)


def _is_of_object(event: Mapping[str, Any]) -> bool:
    """Whether it says that an object is complete; the audit trail's events never do."""
    type_ = text(event, "type").lower()
    return type_.startswith(TYPE) and type_.removeprefix(TYPE) in _CREATED


def _upload(said: Mapping[str, Any], ref: ObjectRef, version: str | None, order: str) -> str | None:
    """How the upload is called on both roads: by its request."""
    if request := request_of(said):
        return f"request:{request}"
    if version:
        return f"upload:{version}"
    return f"sequencer:{order}+{ref.etag or ''}" if order else None
