"""StorageQueue: polls a source's notifications from a queue that Event Grid writes to.

Wire format: Azure Queue Storage REST API, Get Messages, Delete Message, Get Queue Metadata.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from urllib.parse import quote

from relay.handlers.azure.auth import with_version
from relay.handlers.azure.errors import refusal
from relay.handlers.azure.xml import child_text, read_xml
from relay.outbound.credentials import Credential
from relay.sources.contract import QueueMessage
from relay.sources.errors import not_deleted
from relay.sources.rest import HttpApi, StorageRequest

BATCH = 32
"""Messages per call, the queue's maximum."""

VISIBILITY_TIMEOUT = 60
"""Seconds until a message that was not deleted is delivered again."""

PAUSE = 2.0
"""Seconds between calls to an empty queue, which has no long polling."""


class StorageQueue:
    """A queue by URL."""

    def __init__(self, source: str, url: str, credential: Credential) -> None:
        self._url = url
        self._setting = f"sources.{source}.queue_url"
        self._api = HttpApi(credential, refusal)
        self._closed = threading.Event()

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 32 messages; pauses briefly if there are none."""
        path = f"/messages?numofmessages={BATCH}&visibilitytimeout={VISIBILITY_TIMEOUT}"
        root = read_xml(self._api.send(self._request(path), self._setting), self._setting)
        messages = [
            # Event Grid encodes the text as base64.
            QueueMessage.from_text(
                child_text(item, "MessageText"),
                f"{child_text(item, 'MessageId')} {child_text(item, 'PopReceipt')}",
            )
            for item in root.iter("QueueMessage")
        ]
        if not messages:
            self._closed.wait(min(wait, PAUSE))
        return messages

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Delete the messages. TemporaryFailure if some were delivered again meanwhile."""
        failed = 0
        for message in messages:
            id_, _, receipt = message.receipt.partition(" ")
            path = f"/messages/{quote(id_, safe='')}?popreceipt={quote(receipt, safe='')}"
            response = self._api.send(self._request(path, "DELETE", (400, 404)), self._setting)
            failed += response.status_code == 400  # PopReceiptMismatch; 404: deleted already
        if failed:
            raise not_deleted(failed)

    def check(self) -> str:
        """The approximate number of waiting messages, as a sentence."""
        response = self._api.send(self._request("?comp=metadata"), self._setting)
        count = response.headers.get("x-ms-approximate-messages-count", "no")
        return f"about {count} messages in the queue"

    def close(self) -> None:
        self._closed.set()
        self._api.close()

    def _request(
        self, path: str, method: str = "GET", accepted: tuple[int, ...] = ()
    ) -> StorageRequest:
        return StorageRequest(
            f"{self._url}{path}", method, with_version({}), timeout=30, accepted=accepted
        )
