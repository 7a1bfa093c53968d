"""Tencent Cloud COS: what it hands to an SCF function, handed on; read by the S3 protocol.

Wire format: SCF, "COS triggers"; EventBridge's events about COS, as far as that is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, ObjectRef
from relay.sources.fields import count_or_none, epoch_or_none, find, text, text_or_none, wrong_field
from relay.sources.s3.records import as_it_stands, identity_of, said_in
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accepts, addressed
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.oss import cos
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(
    f"cos:ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")
)

_BUCKET = ("cos", "cosBucket")
_OBJECT = ("cos", "cosObject")


class CosSettings(CloudStoreSettings):
    """COS takes no buckets in the path, unless they were made before 2024."""

    place: ClassVar[str] = "https://cos.{region}.myqcloud.com"
    accept: tuple[str, ...] = accepts("cloudevents", "signed", "bare")
    addressing_style: Addressing = addressed("virtual")


class Handler(S3Storage):
    """COS's records. They hold no ETag: the first look at the object pins it."""

    Settings: ClassVar[type[SourceSettings]] = CosSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        said = said_in(record)
        name = text(said, "event", "eventName")
        if name not in CREATED:
            return
        appid, short = _number(said, *_BUCKET, "appid"), text(said, *_BUCKET, "name")
        key = text(said, *_OBJECT, "key")
        prefix = f"/{appid}/{short}/"
        if not key.startswith(prefix) or key == prefix:
            raise wrong_field(
                (*_OBJECT, "key"), f"should begin with {prefix}", f"应以 {prefix} 开头"
            )
        ref = ObjectRef(
            f"{short}-{appid}",
            as_it_stands(key.removeprefix(prefix), self.settings.key_encoding, *_OBJECT, "key"),
            version=text_or_none(said, *_OBJECT, "vid"),
            size=count_or_none(said, *_OBJECT, "size"),
        )
        time = epoch_or_none(said, "event", "eventTime")
        yield Event(ref, identity_of(ref, time, upload=_upload(said)), name, time)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return cos(door)


def _upload(said: Mapping[str, Any]) -> str | None:
    request = text_or_none(said, *_OBJECT, "meta", "x-cos-request-id")
    request = request or (_number(said, "event", "reqid") if "reqid" in said["event"] else None)
    return f"request:{request}" if request else None


def _number(said: Mapping[str, Any], *path: str) -> str:
    """A number that must be there, which some write as a text."""
    found = find(said, *path)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(count_or_none(said, *path))
    return text(said, *path)
