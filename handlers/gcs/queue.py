"""PubSubQueue: a source's notifications, pulled from a subscription of Google Cloud Pub/Sub.

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
from relay.handlers.gcs.errors import HINT, refusal_of_place
from relay.outbound.credentials import Credential
from relay.sources.contract import QueueMessage
from relay.sources.errors import SLOW, denied, not_understood
from relay.sources.rest import LARGEST, HttpApi, StorageRequest, read_json

BATCH = 50
"""Messages in one call: stored one after the other, they fit into the shortest ack deadline."""

LONGEST = 1024 * 1024
"""Bytes of one message; real ones have 2 KB. What is longer is cut, and so kept as unreadable."""

SHORTEST = 1.0
"""Seconds that a call has at least."""

CONSUME = "pubsub.subscriptions.consume"


class PubSubQueue:
    """One subscription. What is not acknowledged within its deadline comes again."""

    def __init__(self, source: str, url: str, subscription: str, credential: Credential) -> None:
        self._url = f"{url}/v1/{subscription}"
        self._subscription = subscription
        self._name = f"sources.{source}.subscription"
        self._api = HttpApi(credential, refusal_of_place)
        self._most = BATCH
        self._closed = threading.Event()

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 50 messages. The server holds the call until there are some, longer than we may
        wait: then we hang up, and what it was about to send comes again."""
        began = monotonic()
        try:
            answer = self._asked("pull", {"maxMessages": self._most}, max(wait, SHORTEST))
        except TemporaryFailure as failure:
            if failure.code != SLOW:
                raise
            return []
        if len(answer.content) >= LARGEST and self._most > 1:
            self._most = 1  # one message fits for certain
            return []
        self._most = BATCH
        found = read_json(answer, self._name).get("receivedMessages") or []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise not_understood(self._name, "200")
        if not found:  # some servers do not hold the call
            self._closed.wait(min(max(began + wait - monotonic(), 0), SHORTEST))
        return [self._message(one) for one in found]

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Acknowledges them."""
        left = iter(messages)
        while batch := list(islice(left, BATCH)):
            self._asked("acknowledge", {"ackIds": [message.receipt for message in batch]})

    def check(self) -> str:
        """Asks, without taking a message, whether we may. PermanentFailure: we may not."""
        answer = self._asked("testIamPermissions", {"permissions": [CONSUME]})
        if CONSUME not in read_json(answer, self._name).get("permissions", ()):
            raise denied(self._name, CONSUME, HINT)
        return "may pull from the subscription"

    def close(self) -> None:
        self._closed.set()
        self._api.close()

    def _asked(self, method: str, body: Any, timeout: float = 30) -> Any:
        call = StorageRequest(f"{self._url}:{method}", "POST", json=body, timeout=timeout)
        return self._api.send(call, self._name)

    def _message(self, received: Mapping[str, Any]) -> QueueMessage:
        """As a push would bring it."""
        whole = {"message": received.get("message"), "subscription": self._subscription}
        body = json.dumps(whole, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return QueueMessage(body[:LONGEST], str(received.get("ackId", "")))
