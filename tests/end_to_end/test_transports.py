"""Every transport from a bucket, with moto: one import per upload, and a scan finds no more."""

import boto3
import pytest

from relay.model import State
from relay.testing.sandbox.exports import make_export

NEW_CODE = {"index.py": b"def handler(event, context): return 2\n"}


@pytest.fixture
def relay(world):
    """A relay that has scanned the empty bucket; the worker is not started."""
    relay = world.relay()
    assert relay.operations.scan("exports")["first"] is True
    return relay


def poll_queue(relay):
    """Accept all messages in the queue."""
    queue = relay.plugins.sources["exports"].queue()
    relay.queue_poller.wait = 0
    try:
        while relay.queue_poller.poll_once("exports", queue):
            pass
    finally:
        queue.close()


def test_s3_to_sqs(world, relay):
    world.announce_uploads()
    world.start_worker(relay)
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    assert relay.operations.scan("exports")["found"] == 0


def test_s3_to_eventbridge_to_sqs(world, relay):
    use_eventbridge(world)
    world.start_worker(relay)
    world.upload("prod/a b+c.zip")
    [delivery] = world.settled()
    assert (delivery.state, delivery.key) == (State.SUCCEEDED, "prod/a b+c.zip")
    assert relay.operations.scan("exports")["found"] == 0


def use_eventbridge(world):
    """Configure the bucket to send notifications to EventBridge, and a rule to the queue."""
    events = boto3.client(
        "events",
        endpoint_url=world.store_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )
    world.stack.callback(events.close)
    events.put_rule(Name="uploads", EventPattern='{"source": ["aws.s3"]}', State="ENABLED")
    target = {"Id": "queue", "Arn": world.queue_attribute("QueueArn")}
    events.put_targets(Rule="uploads", Targets=[target])
    world.s3.put_bucket_notification_configuration(
        Bucket="exports", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


@pytest.mark.parametrize("transport", ["sqs", "eventbridge"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_each_version_is_its_own_event_and_the_old_one_is_superseded(
    make_world, newest_first, transport
):
    """With EventBridge moto names versions but repeats the sequencer; with SQS it names none."""
    world = make_world(on_conflict="update")
    relay = world.relay()
    relay.operations.scan("exports")
    enable_versioning(world)
    world.announce_uploads() if transport == "sqs" else use_eventbridge(world)
    for body in (make_export("hello"), make_export("hello", code=NEW_CODE)):
        world.upload(body=body)
    if newest_first:
        reverse_queue(world)
    poll_queue(relay)
    assert len(world.imports()) == 2
    world.start_worker(relay)
    world.settled(imports=2)
    newest = world.s3.head_object(Bucket="exports", Key="prod/hello.zip")["VersionId"]
    outcomes = {}
    for delivery in world.imports():
        version = relay.ledger.history.event(delivery.event_id).object.version
        outcomes[version == newest] = (delivery.state, delivery.reason)
    assert outcomes == {True: (State.SUCCEEDED, None), False: (State.SKIPPED, "superseded")}
    assert world.applied_calls() == 1
    assert relay.operations.scan("exports")["found"] == 0


def enable_versioning(world):
    world.s3.put_bucket_versioning(Bucket="exports", VersioningConfiguration={"Status": "Enabled"})


def reverse_queue(world):
    """Reverse the order of the messages in the queue."""
    bodies = []
    while messages := world.sqs.receive_message(QueueUrl=world.queue).get("Messages"):
        for message in messages:
            bodies.append(message["Body"])
            receipt = message["ReceiptHandle"]
            world.sqs.delete_message(QueueUrl=world.queue, ReceiptHandle=receipt)
    for body in reversed(bodies):
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=body)


def test_a_scan_finds_an_unannounced_version_which_supersedes_the_announced_one(make_world):
    world = make_world(on_conflict="update")
    relay = world.relay()
    relay.operations.scan("exports")
    enable_versioning(world)
    world.announce_uploads()
    world.upload()
    poll_queue(relay)
    world.s3.put_bucket_notification_configuration(Bucket="exports", NotificationConfiguration={})
    world.upload(body=make_export("hello", code=NEW_CODE))
    assert relay.operations.scan("exports")["found"] == 1
    found, announced = world.imports()
    world.start_worker(relay)
    world.settled(imports=2)
    states = {item.id: (item.state, item.reason) for item in world.imports()}
    assert states[announced.id] == (State.SKIPPED, "superseded")
    assert states[found.id] == (State.SUCCEEDED, None)
    version = relay.ledger.history.event(found.event_id).object.version
    assert version, "stored when the object was opened"
    assert relay.operations.scan("exports")["found"] == 0


def test_a_multipart_upload_is_one_import(world, relay):
    world.announce_uploads()
    body = make_export("hello", code_size=6 * 2**20)
    created = world.s3.create_multipart_upload(Bucket="exports", Key="prod/hello.zip")
    upload = {"Bucket": "exports", "Key": "prod/hello.zip", "UploadId": created["UploadId"]}
    part_size = 5 * 2**20
    parts = [
        {
            "PartNumber": number,
            "ETag": world.s3.upload_part(**upload, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate((body[:part_size], body[part_size:]), 1)
    ]
    poll_queue(relay)
    assert world.imports() == [], "an incomplete upload is not an object"
    world.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    poll_queue(relay)
    world.start_worker(relay)
    # moto sends two notifications of the completion, with different times and no sequencer.
    imports = world.settled()
    [delivery] = [item for item in imports if item.state == State.SUCCEEDED]
    assert {item.state for item in imports} <= {State.SUCCEEDED, State.SKIPPED}
    assert world.applied_calls() == 1
    assert "-2" in relay.ledger.history.event(delivery.event_id).object.etag
    assert relay.operations.scan("exports")["found"] == 0


def test_an_object_found_before_the_notification_arrives_is_imported_once(world, relay):
    world.announce_uploads()
    world.upload()
    assert relay.operations.scan("exports")["found"] == 1
    world.start_worker(relay)
    [delivery] = world.settled()
    poll_queue(relay)
    assert [item.id for item in world.imports()] == [delivery.id]
    assert world.applied_calls() == 1
