"""Clients of the services that `--apply` speaks to, and what they answer in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from relay.errors import ConfigError, PermanentFailure
from relay.model import Localized
from relay.sources.s3.client import FAILURES, AwsSettings, client, region_of, translate
from relay.sources.setup.steps import SetupContext

T = TypeVar("T")

_MISSING = (
    "NotFound",
    "NotFoundException",
    "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
)
_REFUSED = ("InvalidArgument", "InvalidParameter", "InvalidAttributeValue", "MalformedPolicy")
_LONGEST = 300


class Clients:
    """Clients of the source's own services, made when they are first asked for."""

    def __init__(self, door: SetupContext, s3: Any) -> None:
        settings = door.settings
        if not isinstance(settings, AwsSettings):
            raise ConfigError(f"sources.{door.source}", "does not speak AWS's protocols")
        self.door = door
        self.s3 = s3
        self._settings = settings
        self._made: dict[str, Any] = {}

    def sqs(self) -> Any:
        parts = urlsplit(self.door.text("sqs_queue_url"))
        region = region_of(parts.hostname or "") or self._settings.region
        return self._client("sqs", f"{parts.scheme}://{parts.netloc}", region)

    def sns(self, region: str) -> Any:
        """Of AWS, or of the store itself: Ceph's topics are made by the same protocol."""
        url = self.door.text("endpoint_url")
        return self._client("sns", None if "amazonaws.com" in url else url or None, region)

    def close(self) -> None:
        for one in self._made.values():
            one.close()

    def _client(self, kind: str, url: str | None, region: str | None) -> Any:
        if kind not in self._made:
            self._made[kind] = client(
                kind,
                self.door.source,
                self._settings,
                endpoint_url=url,
                region_name=region or "us-east-1",
            )
        return self._made[kind]


def or_none(ask: Callable[[], T]) -> T | None:
    """What the service answers; None: it has no such thing."""
    try:
        return ask()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in _MISSING:
            return None
        raise


@contextmanager
def told_of(thing: str) -> Iterator[None]:
    """The SDK's errors inside become ours; `thing` is what was asked about."""
    try:
        yield
    except FAILURES as error:
        raise _in_words(error, thing) from error


def _in_words(error: Exception, thing: str) -> Exception:
    found = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    if found.get("Code") not in _REFUSED:
        return translate(error, thing)
    said = "".join(one if one.isprintable() else " " for one in str(found.get("Message", "")))
    return PermanentFailure(
        "setup.refused",
        Localized(f"{thing} refuses it: {said[:_LONGEST]}", f"{thing} 拒绝：{said[:_LONGEST]}"),
        Localized(
            "The destination must be there and let the store write to it, and two rules must not "
            "tell of the same objects.",
            "目的地必须存在且允许存储写入，两条规则不能涉及相同对象。",
        ),
    )
