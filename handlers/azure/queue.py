"""StorageQueue: a source's notifications, pulled from a queue that Event Grid writes to.

Wire format: Azure Queue Storage REST API, Get Messages, Delete Message, Get Queue Metadata.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from urllib.parse import quote

from relay.handlers.azure.auth import stamped
from relay.handlers.azure.errors import refusal
from relay.handlers.azure.xml import read_xml, text_in
from relay.outbound.credentials import Credential
from relay.sources.contract import QueueMessage
from relay.sources.errors import not_deleted
from relay.sources.rest import HttpApi, StorageRequest

BATCH = 32
"""Messages in one call: as many as the queue gives."""

HIDDEN = 60
"""Seconds until a message that was not deleted comes again."""

PAUSE = 2.0
"""Seconds between calls to an empty queue: it does not hold them until something comes."""


class StorageQueue:
    """One queue, by its whole address."""

    def __init__(self, source: str, url: str, credential: Credential) -> None:
        self._url = url
        self._name = f"sources.{source}.queue_url"
        self._api = HttpApi(credential, refusal)
        self._closed = threading.Event()

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 32 messages; when there are none, waits a little before it says so."""
        asked = f"messages?numofmessages={BATCH}&visibilitytimeout={HIDDEN}"
        root = read_xml(self._api.send(self._call(f"/{asked}"), self._name), self._name)
        messages = [
            # Event Grid writes base64.
            QueueMessage.from_text(
                text_in(one, "MessageText"),
                f"{text_in(one, 'MessageId')} {text_in(one, 'PopReceipt')}",
            )
            for one in root.iter("QueueMessage")
        ]
        if not messages:
            self._closed.wait(min(wait, PAUSE))
        return messages

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Deletes them. TemporaryFailure when some stay, because they were given out again."""
        left = 0
        for message in messages:
            id_, _, receipt = message.receipt.partition(" ")
            path = f"/messages/{quote(id_, safe='')}?popreceipt={quote(receipt, safe='')}"
            answer = self._api.send(self._call(path, "DELETE", (400, 404)), self._name)
            left += answer.status_code == 400  # PopReceiptMismatch; 404: somebody deleted it
        if left:
            raise not_deleted(left)

    def check(self) -> str:
        """How many messages wait, in words."""
        answer = self._api.send(self._call("?comp=metadata"), self._name)
        count = answer.headers.get("x-ms-approximate-messages-count", "no")
        return f"about {count} messages wait in the queue"

    def close(self) -> None:
        self._closed.set()
        self._api.close()

    def _call(
        self, rest: str, method: str = "GET", accepted: tuple[int, ...] = ()
    ) -> StorageRequest:
        return StorageRequest(
            f"{self._url}{rest}", method, stamped({}), timeout=30, accepted=accepted
        )
