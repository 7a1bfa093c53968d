"""An upload is imported into FunctionGraph and the channels are notified."""

import io
import json
import zipfile

import pytest
import requests

from relay.model import Kind, Origin, State
from relay.testing.sandbox.exports import make_export
from tests.end_to_end.world import TOKEN, accept, free_port, record, until


def notifications(relay):
    return relay.ledger.history.notifications(limit=50, cursor=None).items


def plain_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "not an export")
    return buffer.getvalue()


def test_an_upload_is_imported_and_reported(world):
    world.announce_uploads()
    world.running_relay()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    assert delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    messages = world.deliveries(Kind.MESSAGE)
    assert {message.destination for message in messages} == {"ops", "chat"}
    assert all(message.state == State.SUCCEEDED for message in messages)
    [message] = world.webhook_messages()
    assert message.verified
    assert message.json["data"]["func_urn"] == delivery.result["func_urn"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"just some text, named .zip", "archive.not_a_zip"),
        (plain_zip(), "export.no_yaml"),
        (make_export("hello")[:-40], "archive.truncated"),
    ],
    ids=["text", "another zip", "truncated"],
)
def test_an_invalid_export_fails_with_an_explanation_and_no_import_call(world, body, code):
    world.announce_uploads()
    relay = world.running_relay()
    world.upload(body=body)
    [delivery] = world.settled()
    assert delivery.state == State.FAILED
    assert delivery.error.code == code
    assert delivery.error.message.en
    assert delivery.error.message.zh != delivery.error.message.en
    assert delivery.error.hint.en
    assert [call for call in world.sandbox.calls if call.operation == "import"] == []
    [message] = world.webhook_messages()
    assert message.json["type"] == "import.failed"
    assert message.json["data"]["error"]["code"] == code
    assert message.json["data"]["error"]["message"] == delivery.error.message.en
    assert relay.ledger.history.delivery(delivery.id).attempts == 1


def test_ten_notifications_by_hook_and_queue_are_imported_once(world):
    relay = world.relay()
    notification = world.upload()
    body = json.dumps(notification)
    for _ in range(5):
        accept(relay, notification)
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=body)
    world.start_worker(relay)
    [delivery] = world.settled()
    until(lambda: len(notifications(relay)) == 10)
    assert delivery.state == State.SUCCEEDED
    assert world.applied_calls() == 1
    assert len(world.imports()) == 1
    assert [item.verdict for item in notifications(relay)].count("duplicate") == 9


@pytest.mark.parametrize(
    ("policy", "state", "functions"),
    [
        ("skip", State.FAILED, ["hello"]),
        ("fail", State.FAILED, ["hello"]),
        ("update", State.SUCCEEDED, ["hello"]),
        ("rename", State.SUCCEEDED, ["hello", "hello-"]),
    ],
)
def test_new_content_under_the_same_key_follows_on_conflict(make_world, policy, state, functions):
    world = make_world(on_conflict=policy)
    world.announce_uploads()
    world.running_relay()
    world.upload()
    world.settled()
    first = world.sandbox.functions["hello"].digest
    world.upload(body=make_export("hello", code={"index.py": b"def handler(e, c): return 2\n"}))
    newest, _ = world.settled(imports=2)
    assert newest.state == state
    assert newest.result["func_name"].startswith("hello")
    assert [name[: len("hello-")] for name in sorted(world.sandbox.functions)] == functions
    assert (world.sandbox.functions["hello"].digest != first) == (policy == "update")


def test_the_same_content_again_is_unchanged(world):
    world.announce_uploads()
    world.running_relay()
    body = make_export("hello")
    world.upload(key="prod/a.zip", body=body)
    world.settled()
    world.upload(key="prod/b.zip", body=body)
    newest, _ = world.settled(imports=2)
    assert (newest.state, newest.reason) == (State.SKIPPED, "unchanged")


def test_an_older_version_never_overtakes_a_newer_one(make_world):
    world = make_world(on_conflict="update")
    relay = world.relay()
    old = world.upload(body=make_export("hello"))
    new_body = make_export("hello", code={"index.py": b"def handler(e, c): return 3\n"})
    new = world.upload(body=new_body)
    etag = new["Records"][0]["s3"]["object"]["eTag"]
    newer = record("prod/hello.zip", etag, len(new_body), sequencer="0155AED6DCD90281E6")
    accept(relay, newer)
    accept(relay, old)
    world.start_worker(relay)
    world.settled(imports=2)
    states = {(delivery.state, delivery.reason) for delivery in world.imports()}
    assert states == {(State.SUCCEEDED, None), (State.SKIPPED, "superseded")}


def test_an_object_that_is_gone_is_skipped_after_another_look(world):
    relay = world.relay()
    notification = world.upload()
    world.s3.delete_object(Bucket="exports", Key="prod/hello.zip")
    accept(relay, notification)
    world.start_worker(relay)
    [delivery] = world.settled()
    assert (delivery.state, delivery.reason, delivery.attempts) == (State.SKIPPED, "gone", 2)


def test_a_failed_delivery_is_retriggered_after_the_fix(world):
    world.sandbox.fault(operation="import", status=401, code="FSS.0401", times=None)
    world.announce_uploads()
    relay = world.running_relay()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.FAILED
    world.sandbox.faults.clear()
    relay.operations.retrigger(delivery.id)
    world.settled()
    delivery = relay.ledger.history.delivery(delivery.id)
    assert delivery.state == State.SUCCEEDED
    triggers = [attempt.trigger for attempt in relay.ledger.history.attempts(delivery.id)]
    assert triggers == ["automatic", "manual"]
    assert len(world.message_ids("import.failed")) == 1
    assert len(world.message_ids("import.succeeded")) == 1


def test_a_submission_imports_an_unannounced_object(world):
    relay = world.running_relay()
    world.upload()
    [submitted] = relay.operations.submit("exports", "exports", "prod/hello.zip")
    world.settled()
    assert relay.ledger.history.delivery(submitted.id).state == State.SUCCEEDED
    assert notifications(relay)[0].origin == Origin.SUBMISSION


def test_a_submission_of_an_announced_object_retriggers_its_delivery(world):
    world.announce_uploads()
    relay = world.running_relay()
    world.upload()
    [delivery] = world.settled()
    [submitted] = relay.operations.submit("exports", "exports", "prod/hello.zip")
    assert submitted.id == delivery.id
    world.settled()
    assert world.applied_calls() == 1
    assert len(world.imports()) == 1


def test_a_plan_shows_the_action_and_changes_nothing(world):
    relay = world.relay()
    world.upload()
    before = len(world.sandbox.calls)
    plan = relay.operations.plan("exports", "exports", "prod/hello.zip")
    assert plan["would"] == {"action": "create", "func_name": "hello"}
    assert plan["archive"]["importable"] is True
    assert plan["target"] == "prod"
    assert world.sandbox.functions == {}
    assert {call.operation for call in world.sandbox.calls[before:]} <= {"config", "list"}
    assert world.deliveries() == []
    assert notifications(relay) == ()


def test_an_upload_without_a_route_is_listed_and_routed_after_the_fix(world):
    relay = world.relay()
    receipt = accept(relay, world.upload(key="elsewhere/hello.zip"))
    [delivery] = world.imports()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "no route")
    world.path.write_text(world.path.read_text().replace('"prod/*.zip"', '"*.zip"'))
    fixed = world.running_relay()
    fixed.intake.replay(receipt.notification)
    world.settled(imports=2)
    assert State.SUCCEEDED in {delivery.state for delivery in world.imports()}


def test_status_500_is_retried_until_it_succeeds(world):
    world.sandbox.fault(operation="import", status=500, code="FSS.0500", times=2)
    world.announce_uploads()
    relay = world.running_relay()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    outcomes = [attempt.outcome for attempt in relay.ledger.history.attempts(delivery.id)]
    assert outcomes == ["retry", "retry", "succeeded"]
    assert world.message_ids("import.failed") == []


def test_an_import_with_a_lost_response_is_a_success(world):
    world.sandbox.fault(operation="import", commit=True, drop=True, times=1)
    world.announce_uploads()
    world.running_relay()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    assert world.applied_calls() == 1
    assert world.message_ids("import.failed") == []


def test_a_failing_channel_delays_no_import(world):
    world.inbox.fault(operation="slack", status=500, times=2)
    world.announce_uploads()
    world.running_relay()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    messages = {message.destination: message for message in world.deliveries(Kind.MESSAGE)}
    assert (messages["chat"].state, messages["chat"].attempts) == (State.SUCCEEDED, 3)


def test_the_hook_over_http(world):
    port = free_port()
    world.process("serve", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    until(lambda: is_ready(url), 20, world.log)
    notification = world.upload()
    refused = requests.post(f"{url}/hooks/exports", json=notification, timeout=5)
    assert refused.status_code == 401
    accepted = requests.post(
        f"{url}/hooks/exports",
        json=notification,
        timeout=5,
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert accepted.status_code == 200
    assert accepted.json()["events"] == 1
    assert requests.post(f"{url}/hooks/nowhere", json=notification, timeout=5).status_code == 404
    [delivery] = world.settled()
    shown = requests.get(f"{url}/api/v1/deliveries/{delivery.id}", timeout=5).json()
    assert shown["state"] == "succeeded"
    assert shown["result"]["func_urn"] == world.sandbox.functions["hello"].urn


def is_ready(url):
    try:
        return requests.get(f"{url}/readyz", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
