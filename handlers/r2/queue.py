"""CloudflareQueue: a source's notifications, pulled from a queue that R2 writes to.

Wire format: Cloudflare Queues, "Pull consumers"; API reference, Queues, messages.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import requests

from relay.errors import RelayError
from relay.model import Localized
from relay.outbound.credentials import Bearer
from relay.outbound.responses import cleaned, retry_after
from relay.outbound.token_cache import ExpiringValue
from relay.sources.contract import QueueMessage
from relay.sources.errors import busy, denied, no_bucket, not_deleted, not_understood, refused
from relay.sources.rest import HttpApi, StorageRequest, read_json

BATCH = 50
"""Messages in one call, of 100 at most: at their longest, these fit into an answer that we read."""

HIDDEN = 300
"""Seconds until a message that was not acknowledged comes again. The queue gives a message up after
so many tries as its consumer's max_retries says (3, unless more were asked for): while a ledger
cannot be reached, tries must not be used up in a minute."""

PAUSE = 2.0
"""Seconds between calls to an empty queue: it does not hold them until something comes, and the
API allows 1,200 in five minutes."""

LONGEST = 256 * 1024
"""Characters of one message, twice as many as the queue takes. What is longer is cut, and so kept
as unreadable."""


class CloudflareQueue:
    """One queue, by its whole address, with an API token that may read and write it."""

    def __init__(self, source: str, url: str, token: str) -> None:
        self._url = url
        self._name = f"sources.{source}.queue_id"
        self._api = HttpApi(Bearer(lambda: ExpiringValue(token)), _refusal)
        self._closed = threading.Event()

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 50 messages; when there are none, waits a little before it says so."""
        wanted = {"batch_size": BATCH, "visibility_timeout_ms": HIDDEN * 1000}
        found = self._asked(StorageRequest(f"{self._url}/messages/pull", "POST", json=wanted))
        listed = found.get("messages") if isinstance(found, Mapping) else found
        if not isinstance(listed, list | None):
            raise not_understood(self._name, "200")
        messages = [_message(one) for one in listed or () if isinstance(one, Mapping)]
        if not messages:
            self._closed.wait(min(wait, PAUSE))
        return messages

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Acknowledges them. TemporaryFailure when some stay: they come again."""
        left, lost = iter(messages), 0
        while batch := list(islice(left, BATCH)):
            acks = [{"lease_id": message.receipt} for message in batch]
            told = self._asked(
                StorageRequest(f"{self._url}/messages/ack", "POST", json={"acks": acks})
            )
            count = told.get("ackCount") if isinstance(told, Mapping) else None
            lost += max(len(batch) - count, 0) if isinstance(count, int) else 0
        if lost:
            raise not_deleted(lost)

    def check(self) -> str:
        """Asks for the queue, without taking a message."""
        self._asked(StorageRequest(self._url))
        return "knows the queue"

    def close(self) -> None:
        self._closed.set()
        self._api.close()

    def _asked(self, call: StorageRequest) -> Any:
        """The result in an answer."""
        found = read_json(self._api.send(call, self._name), self._name)
        if found.get("success") is False:
            raise not_understood(self._name, _code(200, found))
        return found.get("result")


def _message(found: Mapping[str, Any]) -> QueueMessage:
    body = found.get("body")
    # What was published as JSON or as bytes comes in base64, what was published as text as it is.
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return QueueMessage.from_text(text[:LONGEST], str(found.get("lease_id", "")))


def _refusal(answer: requests.Response, thing: str) -> RelayError:
    try:
        found = answer.json()
    except (requests.JSONDecodeError, RecursionError):
        found = None
    status = answer.status_code
    code = _code(status, found)
    if status in (408, 429) or status >= 500:
        return busy(thing, code, retry_after(answer))
    if status in (400, 401, 403):  # 400: a token that is none
        return denied(thing, code, _HINT)
    return no_bucket(thing, code) if status == 404 else refused(thing, code)


def _code(status: int, found: Any) -> str:
    """The status, and the first of the errors: {"errors": [{"code", "message"}]}."""
    try:
        first = found["errors"][0]
        told = f"{first['code']} {first['message']}"
    except (LookupError, TypeError):
        told = ""
    return cleaned(f"{status} {told}".strip(), 150)


_HINT = Localized(
    "Check account, queue_id and queue_token: the token needs the rights to read and write Queues, "
    "and the queue an HTTP pull consumer.",
    "请检查 account、queue_id 与 queue_token: token 需要 Queues 读写权限，队列需启用 HTTP pull。",
)
