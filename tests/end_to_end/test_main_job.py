"""A zip lands in a bucket, the function is imported, the team is told."""

import io
import json
import zipfile
from datetime import timedelta

import pytest
import requests

from relay.model import Incoming, Kind, Origin, State, utc_now
from relay.testing.sandbox.exports import make_export


def hook(relay, record, **headers):
    """The notification as the hook hands it to the desk."""
    given = {"authorization": "Bearer hook-token-of-the-tests", **headers}
    return relay.intake.accept(
        Incoming("exports", json.dumps(record).encode(), utc_now(), headers=given)
    )


def plain_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "not an export")
    return buffer.getvalue()


def test_an_upload_is_imported_and_told_within_two_seconds(world):
    world.announce_uploads()
    world.working()
    began = utc_now()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    assert delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    messages = world.deliveries(Kind.MESSAGE)
    assert {one.destination for one in messages} == {"ops", "chat"}
    assert all(one.state == State.SUCCEEDED for one in messages)
    assert max(one.finished for one in messages) - began < timedelta(seconds=2)
    [told] = [m for m in world.inbox.messages if m.channel == "webhook"]
    assert told.verified
    assert told.json["data"]["func_urn"] == delivery.result["func_urn"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"just some text, named .zip", "archive.not_a_zip"),
        (plain_zip(), "export.no_yaml"),
        (make_export("hello")[:-40], "archive.truncated"),
    ],
    ids=["text", "another zip", "truncated"],
)
def test_what_is_no_export_is_refused_in_words_and_nothing_is_called(world, body, code):
    world.announce_uploads()
    relay = world.working()
    world.upload(body=body)
    [delivery] = world.settled()
    assert delivery.state == State.FAILED
    assert delivery.error.code == code
    assert delivery.error.message.en
    assert delivery.error.message.zh != delivery.error.message.en
    assert delivery.error.hint.en
    assert [call for call in world.sandbox.calls if call.operation == "import"] == []
    [told] = [m for m in world.inbox.messages if m.channel == "webhook"]
    assert told.json["type"] == "import.failed"
    assert told.json["data"]["error"]["code"] == code
    assert told.json["data"]["error"]["message"] == delivery.error.message.en
    assert relay.ledger.history.delivery(delivery.id).attempts == 1


def ten(relay):
    found = relay.ledger.history.notifications(limit=50, cursor=None).items
    return found if len(found) == 10 else None


def test_ten_announcements_by_hook_and_queue_are_one_import(world, tools):
    relay = world.relay()
    record = world.upload()
    body = json.dumps(record)
    for _ in range(5):
        hook(relay, record)
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=body)
    relay.start_worker()
    world.stack.callback(relay.stop_worker, 5)
    [delivery] = world.settled()
    notifications = tools.until(lambda: ten(relay))
    assert delivery.state == State.SUCCEEDED
    assert world.effective() == 1
    assert len(world.imports()) == 1
    assert len([one for one in notifications if one.verdict == "duplicate"]) == 9


@pytest.mark.parametrize(
    ("policy", "state", "functions"),
    [
        ("skip", State.FAILED, ["hello"]),
        ("fail", State.FAILED, ["hello"]),
        ("update", State.SUCCEEDED, ["hello"]),
        ("rename", State.SUCCEEDED, ["hello", "hello-"]),
    ],
)
def test_new_content_under_the_same_key_does_what_on_conflict_says(
    make_world, policy, state, functions
):
    world = make_world(on_conflict=policy)
    world.announce_uploads()
    world.working()
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
    world.working()
    body = make_export("hello")
    world.upload(key="prod/a.zip", body=body)
    world.settled()
    world.upload(key="prod/b.zip", body=body)
    newest, _ = world.settled(imports=2)
    assert (newest.state, newest.reason) == (State.SKIPPED, "unchanged")


def test_an_older_version_never_overtakes_a_newer_one(make_world, tools):
    world = make_world(on_conflict="update")
    relay = world.relay()
    old = world.upload(body=make_export("hello"))
    new_body = make_export("hello", code={"index.py": b"def handler(e, c): return 3\n"})
    new = world.upload(body=new_body)
    newer = tools.record(
        "prod/hello.zip", _etag(new), len(new_body), sequencer="0155AED6DCD90281E6"
    )
    hook(relay, newer)
    hook(relay, old)
    relay.start_worker()
    world.stack.callback(relay.stop_worker, 5)
    world.settled(imports=2)
    states = {(one.state, one.reason) for one in world.imports()}
    assert states == {(State.SUCCEEDED, None), (State.SKIPPED, "superseded")}


def _etag(record):
    return record["Records"][0]["s3"]["object"]["eTag"]


def test_an_object_that_is_gone_is_skipped_at_once(world):
    relay = world.relay()
    record = world.upload()
    world.s3.delete_object(Bucket="exports", Key="prod/hello.zip")
    hook(relay, record)
    relay.start_worker()
    world.stack.callback(relay.stop_worker, 5)
    [delivery] = world.settled()
    assert (delivery.state, delivery.reason, delivery.attempts) == (State.SKIPPED, "gone", 1)


def test_a_failed_delivery_is_retriggered_after_the_fix(world):
    world.sandbox.fault(operation="import", status=401, code="FSS.0401", times=None)
    world.announce_uploads()
    relay = world.working()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.FAILED
    world.sandbox.faults.clear()
    relay.operations.retrigger(delivery.id)
    world.settled()
    again = relay.ledger.history.delivery(delivery.id)
    assert again.state == State.SUCCEEDED
    triggers = [attempt.trigger for attempt in relay.ledger.history.attempts(delivery.id)]
    assert triggers == ["automatic", "manual"]
    assert len(world.told("import.failed")) == 1
    assert len(world.told("import.succeeded")) == 1


def test_a_submission_imports_what_nobody_announced(world):
    relay = world.working()
    world.upload()
    [submitted] = relay.operations.submit("exports", "exports", "prod/hello.zip")
    world.settled()
    assert relay.ledger.history.delivery(submitted.id).state == State.SUCCEEDED
    assert (
        relay.ledger.history.notifications(limit=1, cursor=None).items[0].road == Origin.SUBMISSION
    )


def test_a_submission_of_what_was_announced_tries_that_delivery_again(world):
    world.announce_uploads()
    relay = world.working()
    world.upload()
    [delivery] = world.settled()
    [again] = relay.operations.submit("exports", "exports", "prod/hello.zip")
    assert again.id == delivery.id
    world.settled()
    assert world.effective() == 1
    assert len(world.imports()) == 1


def test_a_plan_says_what_would_happen_and_changes_nothing(world):
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
    assert relay.ledger.history.notifications(limit=5, cursor=None).items == ()


def test_a_no_route_upload_is_visible_and_routed_after_the_fix(world):
    relay = world.relay()
    receipt = hook(relay, world.upload(key="elsewhere/hello.zip"))
    [delivery] = world.imports()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "no route")
    world.path.write_text(world.path.read_text().replace('"prod/*.zip"', '"*.zip"'))
    fixed = world.working()
    fixed.intake.replay(receipt.notification)
    world.settled(imports=2)
    assert State.SUCCEEDED in {one.state for one in world.imports()}


def test_five_hundreds_are_retried_until_they_stop(world):
    world.sandbox.fault(operation="import", status=500, code="FSS.0500", times=2)
    world.announce_uploads()
    relay = world.working()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    outcomes = [attempt.outcome for attempt in relay.ledger.history.attempts(delivery.id)]
    assert outcomes == ["retry", "retry", "succeeded"]
    assert world.told("import.failed") == []


def test_an_import_that_happened_but_whose_answer_was_lost_is_a_success(world):
    world.sandbox.fault(operation="import", commit=True, drop=True, times=1)
    world.announce_uploads()
    world.working()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    assert world.effective() == 1
    assert world.told("import.failed") == []


def test_a_channel_that_is_down_holds_no_import_up(world):
    world.inbox.fault(operation="slack", status=500, times=2)
    world.announce_uploads()
    world.working()
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    chat = [one for one in world.deliveries(Kind.MESSAGE) if one.destination == "chat"]
    assert [(one.state, one.attempts) for one in chat] == [(State.SUCCEEDED, 3)]


def test_the_hook_answers_over_http_as_the_interface_says(world, tools):
    port = tools.free_port()
    world.process("serve", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    tools.until(lambda: _ready(url), 20, world.log)
    record = world.upload()
    refused = requests.post(f"{url}/hooks/exports", json=record, timeout=5)
    assert refused.status_code == 401
    taken = requests.post(
        f"{url}/hooks/exports",
        json=record,
        timeout=5,
        headers={"Authorization": f"Bearer {tools.token}"},
    )
    assert taken.status_code == 200
    assert taken.json()["events"] == 1
    assert requests.post(f"{url}/hooks/nowhere", json=record, timeout=5).status_code == 404
    [delivery] = world.settled()
    shown = requests.get(f"{url}/api/v1/deliveries/{delivery.id}", timeout=5).json()
    assert shown["state"] == "succeeded"
    assert shown["result"]["func_urn"] == world.sandbox.functions["hello"].urn


def _ready(url):
    try:
        return requests.get(f"{url}/readyz", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
