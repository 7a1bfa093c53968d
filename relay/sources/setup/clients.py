"""SQS and SNS clients for `--apply`, and the translation of their errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from relay.config.text import excerpt
from relay.errors import ConfigError, PermanentFailure
from relay.model import Localized
from relay.sources.s3.client import FAILURES, AwsSettings, make_client, region_of_host, translate
from relay.sources.setup.steps import SetupContext

T = TypeVar("T")

_MISSING = (
    "NotFound",
    "NotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
)
_REJECTED = ("InvalidArgument", "InvalidParameter", "InvalidAttributeValue", "MalformedPolicy")
_MAX_MESSAGE = 300


class SetupClients:
    """Clients of the source's services, created at first use."""

    def __init__(self, context: SetupContext) -> None:
        settings = context.settings
        if not isinstance(settings, AwsSettings):
            raise ConfigError(f"sources.{context.source}", "does not use an AWS protocol")
        self._context = context
        self._settings = settings
        self._clients: dict[str, Any] = {}

    def sqs(self) -> Any:
        parts = urlsplit(self._context.text("sqs_queue_url"))
        region = region_of_host(parts.hostname or "") or self._settings.region
        return self._client("sqs", f"{parts.scheme}://{parts.netloc}", region)

    def sns(self, region: str) -> Any:
        """SNS of AWS, or of the store itself: Ceph's topics use the same protocol."""
        url = self._context.text("endpoint_url")
        return self._client("sns", None if "amazonaws.com" in url else url or None, region)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _client(self, service: str, url: str | None, region: str | None) -> Any:
        if service not in self._clients:
            self._clients[service] = make_client(
                service,
                self._context.source,
                self._settings,
                endpoint_url=url,
                region_name=region or "us-east-1",
            )
        return self._clients[service]


def none_if_missing(call: Callable[[], T]) -> T | None:
    """The result of `call`; None if the queue or topic does not exist."""
    try:
        return call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _MISSING:
            return None
        raise


@contextmanager
def translate_errors(resource: str) -> Iterator[None]:
    """Raise the SDK's errors as ours; `resource` is the bucket, queue or topic."""
    try:
        yield
    except FAILURES as error:
        raise _translate(error, resource) from error


def _translate(error: Exception, resource: str) -> Exception:
    details = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    if details.get("Code") not in _REJECTED:
        return translate(error, resource)
    message = excerpt(str(details.get("Message", "")), _MAX_MESSAGE)
    return PermanentFailure(
        "setup.refused",
        Localized(f"{resource} rejects the change: {message}", f"{resource} 拒绝更改：{message}"),
        Localized(
            "The destination must exist and allow the store to write to it, and two rules must "
            "not match the same objects.",
            "目标必须存在且允许存储写入，两条规则不能匹配相同的对象。",
        ),
    )
