"""Tencent Cloud COS: events forwarded by an SCF function, read by the S3 protocol.

Wire format: SCF, "COS triggers"; EventBridge's COS events, as far as they contain the same record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, epoch_or_none, find, text, text_or_none, wrong_field
from relay.sources.s3.records import raw_key, unwrap_record, upload_identity
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accept_field, addressing_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import SetupContext, Step, note

CREATED = frozenset(
    f"cos:ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")
)

_BUCKET = ("cos", "cosBucket")
_OBJECT = ("cos", "cosObject")

FORWARDER = """\
import json
import os
import urllib.request


def main_handler(event, context):
    request = urllib.request.Request(
        os.environ["HOOK_URL"],
        json.dumps(event).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["HOOK_TOKEN"],
        },
    )
    # Every status but 2xx raises, so that SCF retries.
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status
"""


class CosSettings(CloudStoreSettings):
    """COS rejects bucket names in the path, except for buckets created before 2024."""

    url_template: ClassVar[str] = "https://cos.{region}.myqcloud.com"
    accept: tuple[str, ...] = accept_field("cloudevents", "signed", "bare")
    addressing_style: Addressing = addressing_field("virtual")


class Handler(S3Storage):
    """COS's records. They have no ETag: the first read pins the object."""

    Settings: ClassVar[type[SourceSettings]] = CosSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        inner = unwrap_record(record)
        name = text(inner, "event", "eventName")
        if name not in CREATED:
            return
        app_id, bucket = _number(inner, *_BUCKET, "appid"), text(inner, *_BUCKET, "name")
        path = text(inner, *_OBJECT, "key")
        prefix = f"/{app_id}/{bucket}/"
        if not path.startswith(prefix) or path == prefix:
            raise wrong_field(
                (*_OBJECT, "key"), f"should begin with {prefix}", f"应以 {prefix} 开头"
            )
        ref = ObjectRef(
            f"{bucket}-{app_id}",
            raw_key(path.removeprefix(prefix), self.settings.key_encoding, *_OBJECT, "key"),
            version=text_or_none(inner, *_OBJECT, "vid"),
            size=count_or_none(inner, *_OBJECT, "size"),
        )
        time = epoch_or_none(inner, "event", "eventTime")
        yield Event(ref, upload_identity(ref, time, upload=_upload(inner)), name, time)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def _upload(record: Mapping[str, Any]) -> str | None:
    request = text_or_none(record, *_OBJECT, "meta", "x-cos-request-id")
    if not request and "reqid" in record["event"]:
        request = _number(record, "event", "reqid")
    return f"request:{request}" if request else None


def _number(record: Mapping[str, Any], *path: str) -> str:
    """A required number; some senders write it as a string."""
    value = find(record, *path)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(count_or_none(record, *path))
    return text(record, *path)


def setup_steps(context: SetupContext) -> Iterator[Step]:
    token = context.reference("token")
    pairs = context.key_filter(context.buckets[0]).pairs()
    filters = "".join(f", {name} {value}" for name, value in pairs.items())
    yield note(
        Localized(
            "COS cannot post to an address. Create an SCF function (Python 3.9 or newer) from the "
            f"following code, with HOOK_URL={context.url} and HOOK_TOKEN={token} in its "
            f"environment, and a COS trigger per bucket: event cos:ObjectCreated:*{filters}",
            "COS 不能直接发送 HTTP 请求。请用以下代码创建 SCF 函数（Python 3.9 或更新），环境变量 "
            f"HOOK_URL={context.url}、HOOK_TOKEN={token}，并为每个存储桶添加 "
            f"COS 触发器：cos:ObjectCreated:*{filters}",
        )
    )
    yield Step(Localized("The function", "函数代码"), "python", FORWARDER, "index.py")
    yield note(
        Localized(
            "SCF retries a failed call only a few times: set scan_every",
            "SCF 对失败的调用只重试几次：请设置 scan_every",
        )
    )
