"""SqsQueue: a source's notifications, pulled from SQS or from what speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from relay.sources.contract import QueueMessage
from relay.sources.errors import not_deleted
from relay.sources.s3.client import FAILURES, AwsSettings, client, region_of, translate

BATCH = 10
"""Messages in one call: as many as SQS allows."""

LONGEST = 1024 * 1024
"""Bytes of one message: as many as SQS allows. What is longer is cut, and so kept as unreadable."""


class SqsQueue:
    """One queue. Its address is that of the service too: scheme, host and port of its URL."""

    def __init__(self, source: str, url: str, settings: AwsSettings) -> None:
        parts = urlsplit(url)
        self._url = url
        self._name = f"sources.{source}.sqs_queue_url"
        self._client = client(
            "sqs",
            source,
            settings,
            endpoint_url=f"{parts.scheme}://{parts.netloc}",
            region_name=region_of(parts.hostname or "") or settings.region or "us-east-1",
        )

    def receive(self, wait: float) -> list[QueueMessage]:
        """Up to 10 messages; waits up to `wait` seconds (20 at most), by long polling."""
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=min(20, max(0, int(wait))),
        )
        return [
            QueueMessage(_body(message.get("Body", "")), message["ReceiptHandle"])
            for message in answer.get("Messages", ())
        ]

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        """Deletes them, ten in a call. TemporaryFailure when some stay: they come again."""
        left = iter(messages)
        failed = 0
        while batch := list(islice(left, BATCH)):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt}
                for number, message in enumerate(batch)
            ]
            failed += len(self._call("delete_message_batch", Entries=entries).get("Failed", ()))
        if failed:
            raise not_deleted(failed)

    def length(self) -> int:
        """About how many messages wait."""
        name = "ApproximateNumberOfMessages"
        answer = self._call("get_queue_attributes", AttributeNames=[name])
        return int(answer.get("Attributes", {}).get(name, 0))

    def close(self) -> None:
        self._client.close()

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except FAILURES as error:
            raise translate(error, self._name) from error


def _body(text: str) -> bytes:
    """The message's bytes. Lone surrogates, which JSON can smuggle in, stay invalid UTF-8."""
    return text.encode("utf-8", "surrogatepass")[:LONGEST]
