"""CloudflareQueue: polls a source's notifications from a queue that R2 writes to.

Wire format: Cloudflare Queues, "Pull consumers"; API reference, Queues, messages.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import requests

from relay.config.text import excerpt
from relay.errors import RelayError
from relay.model import Localized
from relay.outbound.credentials import Bearer
from relay.outbound.responses import retry_after
from relay.outbound.token_cache import ExpiringValue
from relay.sources.contract import QueueMessage
from relay.sources.errors import (
    busy,
    denied,
    no_bucket,
    not_authenticated,
    not_deleted,
    not_understood,
    refused,
    unexplained_404,
)
from relay.sources.rest import HttpApi, StorageRequest, read_json

BATCH = 50
"""Messages per call, of 100 at most: 50 of maximum length fit into a response that we read."""

VISIBILITY_TIMEOUT = 300
"""Seconds until an unacknowledged message is delivered again. The queue drops a message after
max_retries deliveries (3 by default), so a database outage must not use them up in a minute."""

PAUSE = 2.0
"""Seconds between calls to an empty queue. The API has no long polling, and allows 1,200 calls in
five minutes."""

MAX_LENGTH = 256 * 1024
"""Characters per message, twice the queue's limit. Longer messages are cut, and so unreadable."""


class CloudflareQueue:
    """A queue by URL, with an API token that may read and write it."""

    def __init__(self, source: str, url: str, token: str) -> None:
        self._url = url
        self._setting = f"sources.{source}.queue_id"
        self._api = HttpApi(Bearer(lambda: ExpiringValue(token)), _refusal)
        self._closed = threading.Event()

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 50 messages; pauses briefly if there are none."""
        options = {"batch_size": BATCH, "visibility_timeout_ms": VISIBILITY_TIMEOUT * 1000}
        result = self._call(StorageRequest(f"{self._url}/messages/pull", "POST", json=options))
        listed = result.get("messages") if isinstance(result, Mapping) else result
        if not isinstance(listed, list | None):
            raise not_understood(self._setting, "200")
        messages = [_message(item) for item in listed or () if isinstance(item, Mapping)]
        if not messages:
            self._closed.wait(min(wait, PAUSE))
        return messages

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Acknowledge the messages. TemporaryFailure if some remain: they are delivered again."""
        remaining, failed = iter(messages), 0
        while batch := list(islice(remaining, BATCH)):
            acks = [{"lease_id": message.receipt} for message in batch]
            result = self._call(
                StorageRequest(f"{self._url}/messages/ack", "POST", json={"acks": acks})
            )
            count = result.get("ackCount") if isinstance(result, Mapping) else None
            failed += max(len(batch) - count, 0) if isinstance(count, int) else 0
        if failed:
            raise not_deleted(failed)

    def check(self) -> str:
        """Read the queue's metadata, without taking a message."""
        self._call(StorageRequest(self._url))
        return "the queue exists"

    def close(self) -> None:
        self._closed.set()
        self._api.close()

    def _call(self, request: StorageRequest) -> Any:
        """The `result` of the response."""
        document = read_json(self._api.send(request, self._setting), self._setting)
        if document.get("success") is False:
            raise not_understood(self._setting, _code(200, document))
        return document.get("result")


def _message(item: Mapping[str, Any]) -> QueueMessage:
    body = item.get("body")
    # Messages published as JSON or bytes are in base64; text is sent as it is.
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return QueueMessage.from_text(text[:MAX_LENGTH], str(item.get("lease_id", "")))


def _refusal(response: requests.Response, resource: str) -> RelayError:
    try:
        document = response.json()
    except (requests.JSONDecodeError, RecursionError):
        document = None
    status = response.status_code
    code = _code(status, document)
    if status in (408, 429) or status >= 500:
        return busy(resource, code, retry_after(response))
    if status in (400, 401):  # 400: a malformed token
        return not_authenticated(resource, code, _HINT)
    if status == 403:
        return denied(resource, code, _HINT)
    if status == 404:
        return (no_bucket if isinstance(document, dict) else unexplained_404)(resource, code)
    return refused(resource, code)


def _code(status: int, document: Any) -> str:
    """The status and the first error: {"errors": [{"code", "message"}]}."""
    try:
        first = document["errors"][0]
        error = f"{first['code']} {first['message']}"
    except (LookupError, TypeError):
        error = ""
    return excerpt(f"{status} {error}".strip(), 150)


_HINT = Localized(
    "Check account, queue_id and queue_token: the token needs the permissions Queues Read and "
    "Write, and the queue needs an HTTP pull consumer.",
    "请检查 account、queue_id 与 queue_token：token 需要 Queues 读写权限，队列需启用 HTTP pull。",
)
