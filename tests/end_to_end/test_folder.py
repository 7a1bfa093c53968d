"""The local folder as a source: watched, scanned, and safe to use with existing files."""

from datetime import timedelta

import pytest

from relay.app.relay import Relay
from relay.config.load import load
from relay.errors import TemporaryFailure
from relay.model import State
from relay.plugins import settings_class
from relay.testing.sandbox.exports import make_export
from tests.end_to_end.world import until

FOLDER = """
[sources.inbox]
kind = "local"
folder = "{inbox}"
settle = "300ms"
scan_every = "{every}"

[[routes]]
source = "inbox"
key = "*.zip"
target = "prod"
"""


@pytest.fixture
def inbox(world):
    folder = world.folder / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def make_relay(world, inbox):
    """make_relay(every=...) -> a relay with the folder as a source; its worker is not started"""

    def make(every="1h"):
        path = world.folder / "folder.toml"
        path.write_text(world.path.read_text() + FOLDER.format(inbox=inbox, every=every))
        relay = Relay.open(load(path, {}, settings_class))
        relay.queue_poller.wait = 0.2
        world.stack.callback(relay.close)
        return relay

    return make


@pytest.fixture
def relay(make_relay):
    return make_relay()


@pytest.fixture
def handler(relay):
    """The handler of the folder, which takes every file for complete at once."""
    handler = relay.plugins.sources["inbox"]
    handler.settings = handler.settings.model_copy(update={"settle": timedelta(0)})
    return handler


def start_watching(world, relay):
    world.start_worker(relay)
    until(lambda: (scan := relay.ledger.scans.last("inbox")) and scan.finished)


def test_a_new_file_is_imported(world, inbox, relay):
    start_watching(world, relay)
    path = world.folder / "hello.zip"
    path.write_bytes(make_export("hello"))
    path.rename(inbox / "hello.zip")
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED, delivery.error
    assert (delivery.bucket, delivery.key) == ("inbox", "hello.zip")


def test_a_file_is_imported_once_it_is_complete(world, inbox, relay):
    start_watching(world, relay)
    body = make_export("hello", code_size=50_000)
    with (inbox / "hello.zip").open("wb") as file:
        for start in range(0, len(body), 5_000):
            file.write(body[start : start + 5_000])
            file.flush()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED, delivery.error
    assert len(world.imports()) == 1


def test_the_first_scan_marks_existing_files_and_the_next_finds_new_ones(
    world, inbox, relay, handler
):
    (inbox / "old.zip").write_bytes(make_export("old"))
    scanner = relay.queue_poller.scanner
    first = scanner.scan_once(handler)
    assert (first["listed"], first["found"], first["first"]) == (1, 1, True)
    assert world.imports() == []
    (inbox / "new.zip").write_bytes(make_export("new"))
    second = scanner.scan_once(handler)
    assert (second["listed"], second["found"], second["first"]) == (2, 1, False)
    assert [delivery.key for delivery in world.imports()] == ["new.zip"]
    assert scanner.scan_once(handler)["found"] == 0


def test_an_interrupted_first_scan_is_resumed_as_the_first(
    world, inbox, relay, handler, monkeypatch
):
    for name in ("a.zip", "b.zip"):
        (inbox / name).write_bytes(make_export(name[0]))
    pages = list(handler.scan_pages(limit=1))

    def interrupted(since=None, after=None, limit=None):
        yield pages[0]
        raise TemporaryFailure("x", "the listing was interrupted")

    monkeypatch.setattr(handler, "scan_pages", interrupted)
    scanner = relay.queue_poller.scanner
    with pytest.raises(TemporaryFailure):
        scanner.scan_once(handler)
    monkeypatch.undo()
    resumed = scanner.scan_once(handler)
    assert (resumed["first"], resumed["resumed"], resumed["listed"]) == (True, True, 1)
    second = scanner.scan_once(handler)
    assert (second["listed"], second["found"], second["first"]) == (2, 0, False)
    assert world.imports() == []


@pytest.mark.usefixtures("handler")
def test_a_file_that_the_first_scan_marked_can_be_submitted(world, inbox, relay):
    (inbox / "old.zip").write_bytes(make_export("old"))
    relay.operations.scan("inbox")
    world.start_worker(relay)
    [delivery] = relay.operations.submit("inbox", "inbox", "old.zip")
    world.settled()
    assert relay.ledger.history.delivery(delivery.id).state == State.SUCCEEDED


def test_a_restart_imports_files_that_arrived_in_between(world, inbox, make_relay):
    first = make_relay()
    first.operations.scan("inbox")
    first.close()
    (inbox / "meanwhile.zip").write_bytes(make_export("meanwhile"))
    world.start_worker(make_relay(every="500ms"))
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
