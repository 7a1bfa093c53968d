"""A person imports an older version again: it is executed, and what it overwrites is reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from relay.cli.main import cli
from relay.model import Incoming, Kind, ObjectRef, Origin, Skipped, State, Succeeded, utc_now
from relay.testing.sandbox.exports import make_export
from relay.web.app import create_app

from .conftest import World, code_of

BUCKET, KEY = "rollbacks", "prod/hello.zip"
STORE = """
kind = "s3"
endpoint_url = "{url}"
region = "us-east-1"
access_key_id = "test"
secret_access_key = "test"
addressing_style = "path"
buckets = ["rollbacks"]
"""


def export(number: int) -> bytes:
    return make_export("hello", code={"index.py": b"number = %d\n" % number})


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture(scope="module")
def store_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


class VersionedWorld:
    """Two versions of an object in a versioned bucket; both were imported, the second last."""

    def __init__(self, world: World, url: str, *, versioned: bool) -> None:
        self.world = world
        self.s3 = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.s3.create_bucket(Bucket=BUCKET)
        if versioned:
            status = {"Status": "Enabled"}
            self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=status)
        self.deliveries = [self._upload(number) for number in (1, 2)]

    def _upload(self, number: int) -> Any:
        put = self.s3.put_object(Bucket=BUCKET, Key=KEY, Body=export(number))
        handler = self.world.relay.plugins.sources["exports"]
        ref = ObjectRef(BUCKET, KEY, put.get("VersionId"))
        event = handler.event_for(ref, handler.stat(ref))
        incoming = Incoming("exports", b"", utc_now(), Origin.QUEUE)
        receipt = self.world.relay.intake.accept_found(incoming, [event])
        assert isinstance(self.world.attempt(), Succeeded)
        return self.world.relay.ledger.history.delivery(receipt.deliveries[0])

    def delivery(self, number: int) -> Any:
        return self.world.relay.ledger.history.delivery(self.deliveries[number - 1].id)

    def api(self, path: str, body: Any) -> Any:
        relay = self.world.relay
        client = create_app(relay.ledger, relay.intake, relay.operations).test_client()
        return client.post(f"/api/v1{path}", json=body)

    @property
    def stored(self) -> bytes:
        return self.world.stored("hello")

    def close(self) -> None:
        for version in self.s3.list_object_versions(Bucket=BUCKET).get("Versions", []):
            self.s3.delete_object(Bucket=BUCKET, Key=KEY, VersionId=version["VersionId"])
        self.s3.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def build(make_world: Callable[..., World], store_url: str) -> Iterator[Any]:
    made: list[VersionedWorld] = []

    def build(*, versioned: bool = True, on_conflict: str = "update") -> VersionedWorld:
        world = make_world(on_conflict=on_conflict, source=STORE.format(url=store_url))
        made.append(VersionedWorld(world, store_url, versioned=versioned))
        return made[-1]

    yield build
    for world in made:
        world.close()


def test_a_retrigger_imports_the_older_version_and_says_what_it_overwrites(build: Any) -> None:
    world = build()
    assert world.stored == code_of(export(2))
    reply = world.api(f"/deliveries/{world.delivery(1).id}/retrigger", {})
    assert reply.status_code == 202
    expected = {"delivery": world.delivery(2).id, "source": "exports", "bucket": BUCKET, "key": KEY}
    assert expected.items() <= reply.json["overwrites"].items()
    outcome = world.world.attempt()
    assert isinstance(outcome, Succeeded)
    assert world.stored == code_of(export(1))
    assert expected.items() <= world.delivery(1).result["overwrites"].items()
    again = world.api(f"/deliveries/{world.delivery(1).id}/retrigger", {})
    assert again.json["overwrites"] is None, "the function holds this version now"


def test_a_submission_of_an_older_version_is_imported(build: Any) -> None:
    world = build()
    address = {"source": "exports", "bucket": BUCKET, "key": KEY}
    reply = world.api("/submissions", {**address, "version": world.delivery(1).version})
    assert reply.status_code == 202
    [delivery] = reply.json["deliveries"]
    assert delivery["id"] == world.delivery(1).id
    assert delivery["overwrites"]["delivery"] == world.delivery(2).id
    assert isinstance(world.world.attempt(), Succeeded)
    assert world.stored == code_of(export(1))


def test_a_version_that_no_storage_announced_is_imported_when_it_is_submitted(build: Any) -> None:
    world = build()
    world.s3.put_object(Bucket=BUCKET, Key=KEY, Body=export(3))
    unannounced = world.s3.list_object_versions(Bucket=BUCKET, Prefix=KEY)["Versions"][0]
    world.s3.put_object(Bucket=BUCKET, Key=KEY, Body=export(4))
    ref = ObjectRef(BUCKET, KEY, unannounced["VersionId"])
    [delivery] = world.world.relay.operations.submit("exports", BUCKET, KEY, ref.version)
    assert isinstance(world.world.attempt(), Succeeded), delivery
    assert world.stored == code_of(export(3))


def test_an_automatic_attempt_of_an_older_version_stays_superseded(build: Any) -> None:
    world = build()
    relay = world.world.relay
    older = world.delivery(1)
    relay.ledger.retriggers.retrigger(older.id, world.world.clock())
    with relay.ledger._database.write() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET \"trigger\" = 'automatic'")
    outcome = world.world.attempt()
    assert isinstance(outcome, Skipped)
    assert outcome.reason == "superseded"
    assert world.stored == code_of(export(2))


def test_without_versions_the_words_say_that_the_content_no_longer_exists(build: Any) -> None:
    world = build(versioned=False)
    world.api(f"/deliveries/{world.delivery(1).id}/retrigger", {})
    outcome = world.world.attempt()
    assert isinstance(outcome, Skipped)
    assert "no longer exists" in outcome.result["words"]["en"]
    assert "已不存在" in outcome.result["words"]["zh"]
    assert world.stored == code_of(export(2))


def test_pages_say_what_is_overwritten(build: Any) -> None:
    world = build()
    relay = world.world.relay
    client = create_app(relay.ledger, relay.intake, relay.operations).test_client()
    page = client.get(f"/deliveries/{world.delivery(1).id}").text
    assert "The function holds a newer upload" in page
    assert world.delivery(2).id in page
    assert "newer upload" not in client.get(f"/deliveries/{world.delivery(2).id}").text
    world.api(f"/deliveries/{world.delivery(1).id}/retrigger", {})
    world.world.attempt()
    page = client.get(f"/deliveries/{world.delivery(1).id}?lang=zh").text
    assert "函数中更新的上传已被覆盖" in page


def test_the_command_asks_first(build: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = build()
    arguments = ["--config", str(tmp_path / "relay.toml"), "retrigger", world.delivery(1).id]

    def run(*more: str, **options: Any) -> Any:
        return CliRunner().invoke(cli, [*arguments, *more], prog_name="relay", **options)

    refused = run("--json")
    [result] = json.loads(refused.stdout)
    assert (refused.exit_code, result["error"]["code"]) == (1, "function.newer")
    assert result["overwrites"]["delivery"] == world.delivery(2).id
    assert world.delivery(1).state == State.SUCCEEDED
    monkeypatch.setattr("relay.cli.retrigger._is_interactive", lambda: True)
    denied = run(input="n\n")
    assert "Overwrite it?" in denied.output
    assert world.delivery(1).state == State.SUCCEEDED
    assert run(input="y\n").exit_code == 0
    assert world.delivery(1).state == State.PENDING


def test_the_command_does_not_ask_if_nothing_is_overwritten(build: Any, tmp_path: Any) -> None:
    world = build(on_conflict="update")
    config = str(tmp_path / "relay.toml")
    arguments = ["--config", config, "retrigger", world.delivery(2).id]
    assert CliRunner().invoke(cli, arguments, prog_name="relay").exit_code == 0
    skip = ["--config", config, "retrigger", world.delivery(1).id, "--on-conflict", "skip"]
    assert CliRunner().invoke(cli, skip, prog_name="relay").exit_code == 0
    assert {d.state for d in world.world.deliveries(Kind.IMPORT)} == {State.PENDING}


def _retrigger_all(tmp_path: Any, *more: str) -> Any:
    arguments = ["--config", str(tmp_path / "relay.toml"), "retrigger", "--kind", "import", *more]
    return CliRunner().invoke(cli, arguments, prog_name="relay")


def test_a_newer_delivery_that_is_pending_again_is_still_in_the_function(build: Any) -> None:
    world = build()
    world.api(f"/deliveries/{world.delivery(2).id}/retrigger", {})
    assert world.delivery(2).state == State.PENDING
    reply = world.api(f"/deliveries/{world.delivery(1).id}/retrigger", {})
    assert reply.json["overwrites"]["delivery"] == world.delivery(2).id


@pytest.mark.parametrize("yes", [(), ("--yes",)])
def test_of_all_retriggered_uploads_of_a_function_only_the_newest_is_imported(
    build: Any, tmp_path: Any, yes: tuple[str, ...]
) -> None:
    world = build()
    result = _retrigger_all(tmp_path, "--state", "succeeded", *yes)
    assert result.exit_code == 1
    assert f"newer upload: {BUCKET}/{KEY}, uploaded" in result.output
    assert "retriggered instead" in result.output
    assert [world.delivery(number).state for number in (1, 2)] == [State.SUCCEEDED, State.PENDING]
    assert isinstance(world.world.attempt(), Succeeded)
    assert world.stored == code_of(export(2))


def test_of_all_retriggered_failures_the_newest_upload_wins_whatever_the_order(
    build: Any, tmp_path: Any
) -> None:
    """Neither was imported, so that no newer import is known when they are retriggered."""
    world = build()
    relay = world.world.relay
    with relay.ledger._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM functions")
        failed = "UPDATE deliveries SET state = 'failed', function = NULL WHERE kind = 'import'"
        connection.exec_driver_sql(failed)
    assert _retrigger_all(tmp_path, "--state", "failed").exit_code == 0
    older, newer = (world.delivery(number) for number in (1, 2))
    assert (older.by, older.due < newer.due) == ("command", True)
    world.world.clock.forward(timedelta(seconds=1))
    for delivery, expected in ((newer, Succeeded), (older, Skipped)):
        claim = relay.worker.claim(Kind.IMPORT, only=delivery.id)
        assert isinstance(relay.worker.run(claim), expected)
    assert world.stored == code_of(export(2))
