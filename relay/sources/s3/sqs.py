"""SqsQueue: polls a source's notifications from SQS or a compatible queue."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from relay.sources.contract import QueueMessage
from relay.sources.errors import not_deleted
from relay.sources.s3.client import FAILURES, AwsSettings, make_client, region_of_host, translate

BATCH = 10
"""Messages per call, SQS's maximum."""

MAX_LENGTH = 1024 * 1024
"""Bytes per message, SQS's maximum. Longer messages are cut, and so unreadable."""


class SqsQueue:
    """A queue by URL, which is also the address of the service: scheme, host and port."""

    def __init__(self, source: str, url: str, settings: AwsSettings) -> None:
        parts = urlsplit(url)
        self._url = url
        self._setting = f"sources.{source}.sqs_queue_url"
        self._client = make_client(
            "sqs",
            source,
            settings,
            endpoint_url=f"{parts.scheme}://{parts.netloc}",
            region_name=region_of_host(parts.hostname or "") or settings.region or "us-east-1",
        )

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 10 messages, by long polling for up to `wait` seconds (20 at most)."""
        response = self._call(
            "receive_message",
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=min(20, max(0, int(wait))),
        )
        return [
            QueueMessage(_body(message.get("Body", "")), message["ReceiptHandle"])
            for message in response.get("Messages", ())
        ]

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Delete the messages. TemporaryFailure if some remain: SQS delivers them again."""
        remaining = iter(messages)
        failed = 0
        while batch := list(islice(remaining, BATCH)):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(batch)
            ]
            failed += len(self._call("delete_message_batch", Entries=entries).get("Failed", ()))
        if failed:
            raise not_deleted(failed)

    def length(self) -> int:
        """The approximate number of waiting messages."""
        name = "ApproximateNumberOfMessages"
        response = self._call("get_queue_attributes", AttributeNames=[name])
        return int(response.get("Attributes", {}).get(name, 0))

    def close(self) -> None:
        self._client.close()

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except FAILURES as error:
            raise translate(error, self._setting) from error


def _body(text: str) -> bytes:
    """The message's bytes. Lone surrogates, which JSON allows, remain invalid UTF-8."""
    return text.encode("utf-8", "surrogatepass")[:MAX_LENGTH]
