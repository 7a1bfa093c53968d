"""IBM Cloud Object Storage: told by Code Engine; read by the S3 protocol.

Wire format: Code Engine, "Working with the IBM Cloud Object Storage event producer"; the
notification in its data is also what Cloud Object Storage of one's own writes to Kafka.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, ObjectRef
from relay.sources.fields import count_or_none, find, text, text_or_none, time_or_none, wrong_field
from relay.sources.s3.records import as_it_stands, identity_of, said_in, unquoted
from relay.sources.s3.settings import CloudStoreSettings, accepts
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.oci import ibm
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(("Object:Write",))


class IbmSettings(CloudStoreSettings):
    """Code Engine shows what the subscription's extension says, in `token_header`."""

    place: ClassVar[str] = "https://s3.{region}.cloud-object-storage.appdomain.cloud"
    accept: tuple[str, ...] = accepts("cloudevents", "signed", "bare")


class Handler(S3Storage):
    """IBM's notifications, as they are or in CloudEvents."""

    Settings: ClassVar[type[SourceSettings]] = IbmSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a notification about a complete object."""
        said = said_in(record)
        said = said if "event_type" in said else find(said, "notification")
        if not isinstance(said, Mapping):
            raise wrong_field(("notification",), "should be an object", "应为对象")
        type_ = text(said, "event_type")
        if type_ not in CREATED:
            return
        key = text(said, "object_name")
        ref = ObjectRef(
            text(said, "bucket_name"),
            as_it_stands(key, self.settings.key_encoding, "object_name"),
            etag=unquoted(text_or_none(said, "object_etag")),
            size=count_or_none(said, "object_length"),
        )
        time = time_or_none(said, "request_time")
        request = text_or_none(said, "request_id")
        upload = f"request:{request}" if request else None
        yield Event(ref, identity_of(ref, time, upload=upload), type_, time)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return ibm(door)
