"""Every road from a bucket to us on moto's servers: one upload, one import, nothing to find."""

import boto3
import pytest

from relay.model import State
from relay.testing.sandbox.exports import make_export

NEW_CODE = {"index.py": b"def handler(event, context): return 2\n"}


@pytest.fixture
def relay(world):
    """A relay that has scanned the empty bucket; its worker does not run yet."""
    relay = world.relay()
    assert relay.operations.scan("exports")["first"] is True
    return relay


def pull(relay):
    """Takes everything that waits in the queue."""
    handler = relay.plugins.sources["exports"]
    queue = handler.queue()
    relay.queue_poller.wait = 0
    try:
        while relay.queue_poller.poll_once("exports", queue):
            pass
    finally:
        queue.close()


def work(world, relay):
    relay.start_worker()
    world.stack.callback(relay.stop_worker, 5)


def test_s3_to_sqs(world, relay):
    world.announce_uploads()
    work(world, relay)
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    assert relay.operations.scan("exports")["found"] == 0


def test_s3_to_eventbridge_to_sqs(world, relay):
    bridge(world)
    work(world, relay)
    world.upload("prod/a b+c.zip")
    [delivery] = world.settled()
    assert (delivery.state, delivery.key) == (State.SUCCEEDED, "prod/a b+c.zip")
    assert relay.operations.scan("exports")["found"] == 0


def bridge(world):
    """Lets EventBridge tell the queue of what the bucket tells it."""
    events = boto3.client(
        "events",
        endpoint_url=world.store_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )
    world.stack.callback(events.close)
    told = world.sqs.get_queue_attributes(QueueUrl=world.queue, AttributeNames=["QueueArn"])
    events.put_rule(Name="uploads", EventPattern='{"source": ["aws.s3"]}', State="ENABLED")
    target = {"Id": "queue", "Arn": told["Attributes"]["QueueArn"]}
    events.put_targets(Rule="uploads", Targets=[target])
    world.s3.put_bucket_notification_configuration(
        Bucket="exports", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )


@pytest.mark.parametrize("road", ["sqs", "eventbridge"])
@pytest.mark.parametrize("newest_first", [False, True])
def test_each_version_is_its_own_event_and_the_old_one_is_superseded(
    make_world, newest_first, road
):
    """By EventBridge moto names the versions, and all with one sequencer; by SQS it names none."""
    world = make_world(on_conflict="update")
    relay = world.relay()
    relay.operations.scan("exports")
    versioned(world)
    world.announce_uploads() if road == "sqs" else bridge(world)
    for body in (make_export("hello"), make_export("hello", code=NEW_CODE)):
        world.upload(body=body)
    if newest_first:
        turn_round(world)
    pull(relay)
    assert len(world.imports()) == 2
    work(world, relay)
    world.settled(imports=2)
    newest = world.s3.head_object(Bucket="exports", Key="prod/hello.zip")["VersionId"]
    ended = {
        relay.ledger.history.event(one.event_id).object.version == newest: (one.state, one.reason)
        for one in world.imports()
    }
    assert ended == {True: (State.SUCCEEDED, None), False: (State.SKIPPED, "superseded")}
    assert world.effective() == 1
    assert relay.operations.scan("exports")["found"] == 0


def versioned(world):
    world.s3.put_bucket_versioning(Bucket="exports", VersioningConfiguration={"Status": "Enabled"})


def turn_round(world):
    """The messages that wait in the queue come in the other order."""
    bodies = []
    while taken := world.sqs.receive_message(QueueUrl=world.queue).get("Messages"):
        for one in taken:
            bodies.append(one["Body"])
            world.sqs.delete_message(QueueUrl=world.queue, ReceiptHandle=one["ReceiptHandle"])
    for body in reversed(bodies):
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=body)


def test_a_version_that_nobody_announced_is_found_and_supersedes_the_announced_one(make_world):
    world = make_world(on_conflict="update")
    relay = world.relay()
    relay.operations.scan("exports")
    versioned(world)
    world.announce_uploads()
    world.upload()
    pull(relay)
    world.s3.put_bucket_notification_configuration(Bucket="exports", NotificationConfiguration={})
    world.upload(body=make_export("hello", code=NEW_CODE))
    assert relay.operations.scan("exports")["found"] == 1
    found, announced = world.imports()
    work(world, relay)
    world.settled(imports=2)
    states = {one.id: (one.state, one.reason) for one in world.imports()}
    assert states[announced.id] == (State.SKIPPED, "superseded")
    assert states[found.id] == (State.SUCCEEDED, None)
    assert relay.ledger.history.event(found.event_id).object.version, (
        "learned when it was looked at"
    )
    assert relay.operations.scan("exports")["found"] == 0


def test_a_multipart_upload_is_one_import(world, relay):
    world.announce_uploads()
    body = make_export("hello", code_size=6 * 2**20)
    begun = world.s3.create_multipart_upload(Bucket="exports", Key="prod/hello.zip")
    where = {"Bucket": "exports", "Key": "prod/hello.zip", "UploadId": begun["UploadId"]}
    cut = 5 * 2**20
    parts = [
        {
            "PartNumber": number,
            "ETag": world.s3.upload_part(**where, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate((body[:cut], body[cut:]), 1)
    ]
    pull(relay)
    assert world.imports() == [], "its beginning and its parts are no objects"
    world.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    pull(relay)
    work(world, relay)
    # moto announces its end twice, at two times, without a sequencer: the second changes nothing.
    settled = world.settled()
    [delivery] = [one for one in settled if one.state == State.SUCCEEDED]
    assert {one.state for one in settled} <= {State.SUCCEEDED, State.SKIPPED}
    assert world.effective() == 1
    assert "-2" in relay.ledger.history.event(delivery.event_id).object.etag
    assert relay.operations.scan("exports")["found"] == 0


def test_what_is_found_before_its_news_comes_is_one_import(world, relay):
    world.announce_uploads()
    world.upload()
    assert relay.operations.scan("exports")["found"] == 1
    work(world, relay)
    [delivery] = world.settled()
    pull(relay)
    assert [one.id for one in world.imports()] == [delivery.id]
    assert world.effective() == 1
