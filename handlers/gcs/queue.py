"""PubSubQueue: a source's notifications, pulled from a subscription in Google Cloud Pub/Sub.

Wire format: Pub/Sub, REST reference, projects.subscriptions: pull, acknowledge, testIamPermissions.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from itertools import islice
from time import monotonic
from typing import Any

from relay.errors import TemporaryFailure
from relay.handlers.gcs.errors import HINT, refusal_of_container
from relay.outbound.credentials import Credential
from relay.sources.contract import QueueMessage
from relay.sources.errors import SLOW, denied, not_understood
from relay.sources.rest import LARGEST, HttpApi, StorageRequest, read_json

BATCH = 50
"""Messages per call: storing them in sequence takes less than the shortest ack deadline."""

MAX_LENGTH = 1024 * 1024
"""Bytes per message; real messages have 2 KB. Longer messages are cut, and so unreadable."""

MIN_WAIT = 1.0
"""Seconds, the minimum duration of a call."""

CONSUME = "pubsub.subscriptions.consume"


class PubSubQueue:
    """A subscription. It redelivers a message that is not acknowledged within the deadline."""

    def __init__(self, source: str, url: str, subscription: str, credential: Credential) -> None:
        self._url = f"{url}/v1/{subscription}"
        self._subscription = subscription
        self._setting = f"sources.{source}.subscription"
        self._api = HttpApi(credential, refusal_of_container)
        self._batch = BATCH
        self._closed = threading.Event()

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 50 messages. The server's long polling can exceed `wait`: a call that is cut off
        loses nothing, because the messages are redelivered."""
        started = monotonic()
        try:
            response = self._call("pull", {"maxMessages": self._batch}, max(wait, MIN_WAIT))
        except TemporaryFailure as failure:
            if failure.code != SLOW:
                raise
            return []
        if len(response.content) >= LARGEST and self._batch > 1:
            self._batch = 1  # a single message always fits
            return []
        self._batch = BATCH
        received = read_json(response, self._setting).get("receivedMessages") or []
        if not isinstance(received, list) or not all(isinstance(item, dict) for item in received):
            raise not_understood(self._setting, "200")
        if not received:  # emulators answer at once
            self._closed.wait(min(max(started + wait - monotonic(), 0), MIN_WAIT))
        return [self._message(item) for item in received]

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Acknowledge the messages."""
        remaining = iter(messages)
        while batch := list(islice(remaining, BATCH)):
            self._call("acknowledge", {"ackIds": [message.receipt for message in batch]})

    def check(self) -> str:
        """Test the permission to pull, without taking a message. PermanentFailure without it."""
        response = self._call("testIamPermissions", {"permissions": [CONSUME]})
        if CONSUME not in read_json(response, self._setting).get("permissions", ()):
            raise denied(self._setting, CONSUME, HINT)
        return "may pull from the subscription"

    def close(self) -> None:
        self._closed.set()
        self._api.close()

    def _call(self, method: str, body: Any, timeout: float = 30) -> Any:
        request = StorageRequest(f"{self._url}:{method}", "POST", json=body, timeout=timeout)
        return self._api.send(request, self._setting)

    def _message(self, received: Mapping[str, Any]) -> QueueMessage:
        """A message in the format of a push."""
        push = {"message": received.get("message"), "subscription": self._subscription}
        body = json.dumps(push, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return QueueMessage(body[:MAX_LENGTH], str(received.get("ackId", "")))
