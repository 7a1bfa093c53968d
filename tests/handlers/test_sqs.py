"""From upload to read through a real SQS queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from relay.errors import PermanentFailure, TemporaryFailure
from relay.handlers.s3 import Handler
from relay.model import Event, Incoming, Origin, utc_now
from relay.sources.contract import QueueMessage
from relay.sources.envelopes import ENVELOPES
from relay.sources.s3.client import AwsSettings, region_of_host
from relay.sources.s3.sqs import MAX_LENGTH, SqsQueue
from relay.testing.handler_suite import HandlerSuite, read

SETTINGS = AwsSettings(
    kind="s3", region="us-east-1", access_key_id="test-key", secret_access_key="test-secret"
)


@pytest.fixture
def queue(queue_url: str) -> Iterator[SqsQueue]:
    with closing(SqsQueue("exports", queue_url, SETTINGS)) as queue:
        yield queue


@pytest.fixture
def notifying_bucket(s3: Any, sqs: Any, bucket: str, queue_url: str) -> str:
    """A bucket that sends notifications to the queue."""
    response = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    arn = response["Attributes"]["QueueArn"]
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    return bucket


def wrapped(message: QueueMessage) -> Incoming:
    return Incoming("exports", message.body, utc_now(), Origin.QUEUE)


def events_of(handler: Handler, messages: list[QueueMessage]) -> list[Event]:
    bare = ENVELOPES["bare"](handler.settings)
    return [
        event
        for message in messages
        for record in bare.unwrap(wrapped(message))
        for event in handler.parse(record)
    ]


def test_every_odd_key_is_announced_and_read(
    store: str, s3: Any, notifying_bucket: str, queue_url: str
) -> None:
    settings = Handler.Settings(
        kind="s3",
        endpoint_url=store,
        region="us-east-1",
        addressing_style="path",
        access_key_id="test-key",
        secret_access_key="test-secret",
        sqs_queue_url=queue_url,
    )
    for key in HandlerSuite.odd_keys:
        s3.put_object(Bucket=notifying_bucket, Key=key, Body=key.encode())
    with closing(Handler("exports", settings)) as handler:
        queue = handler.queue()
        assert queue is not None
        with closing(queue):
            events: list[Event] = []
            while messages := queue.receive(0):
                events += events_of(handler, messages)
                queue.delete(messages)
        assert {event.object.key for event in events} == set(HandlerSuite.odd_keys)
        for event in events:
            assert event.object.etag
            assert read(handler, event.object) == event.object.key.encode()


def test_a_test_event_announces_nothing(
    queue: SqsQueue,
    notifying_bucket: str,
) -> None:
    messages = queue.receive(0)
    handler = Handler("exports", Handler.Settings(kind="s3", region="us-east-1"))
    with closing(handler):
        assert json.loads(messages[0].body)["Event"] == "s3:TestEvent"
        assert events_of(handler, messages) == []


def test_messages_that_are_not_deleted_are_received_again(
    queue: SqsQueue, sqs: Any, queue_url: str
) -> None:
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"VisibilityTimeout": "0"})
    sqs.send_message(QueueUrl=queue_url, MessageBody="one")
    assert [message.body for message in queue.receive(0)] == [b"one"]
    again = queue.receive(0)
    assert [message.body for message in again] == [b"one"]
    queue.delete(again)
    assert queue.receive(0) == []
    assert queue.length() == 0


def test_more_than_one_batch_is_deleted(queue: SqsQueue, sqs: Any, queue_url: str) -> None:
    for number in range(23):
        sqs.send_message(QueueUrl=queue_url, MessageBody=str(number))
    messages = []
    while batch := queue.receive(0):
        assert len(batch) <= 10
        messages += batch
    assert sorted(int(message.body) for message in messages) == list(range(23))
    queue.delete(messages)
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_a_message_that_cannot_be_deleted_is_an_error(queue: SqsQueue) -> None:
    with pytest.raises((TemporaryFailure, PermanentFailure)):
        queue.delete([QueueMessage(b"", "no such receipt")])


def test_a_body_that_is_not_a_notification_is_returned(
    queue: SqsQueue, sqs: Any, queue_url: str
) -> None:
    sqs.send_message(QueueUrl=queue_url, MessageBody="你好, not JSON {")
    assert queue.receive(0)[0].body == "你好, not JSON {".encode()


def test_a_body_over_the_limit_is_cut(queue: SqsQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    response = {"Messages": [{"Body": "x" * (MAX_LENGTH + 5), "ReceiptHandle": "r"}]}
    monkeypatch.setattr(queue, "_call", lambda *_, **__: response)
    assert len(queue.receive(0)[0].body) == MAX_LENGTH


def test_a_missing_queue_is_an_error(store: str) -> None:
    url = f"{store}/123456789012/nowhere"
    with (
        closing(SqsQueue("exports", url, SETTINGS)) as queue,
        pytest.raises(TemporaryFailure) as raised,
    ):
        queue.receive(0)
    assert raised.value.code == "storage.no_bucket"
    assert "sources.exports.sqs_queue_url" in raised.value.message.en


def test_an_unreachable_queue_is_a_temporary_failure() -> None:
    with (
        closing(SqsQueue("exports", "http://127.0.0.1:1/1/q", SETTINGS)) as queue,
        pytest.raises(TemporaryFailure),
    ):
        queue.receive(0)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a-1b.sqs.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ("s3.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("queue.amazonaws.com", None),
        ("sqs.eu-west-1.amazonaws.com.example.com", None),
        ("127.0.0.1", None),
    ],
)
def test_the_region_is_the_one_in_the_host(host: str, region: str | None) -> None:
    assert region_of_host(host) == region
