"""The local folder: watched, rescanned, and safe to point at old files."""

import pytest

from relay import plugins as loader
from relay.app.relay import Relay
from relay.config import load as settings
from relay.errors import TemporaryFailure
from relay.model import State
from relay.testing.sandbox.exports import make_export

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
def relay(world, inbox):
    def make(every="1h"):
        text = world.path.read_text() + FOLDER.format(inbox=inbox, every=every)
        (world.folder / "folder.toml").write_text(text)
        chosen = settings.load(world.folder / "folder.toml", {}, loader.settings_class)
        house = Relay.open(chosen)
        house.queue_poller.wait = 0.2
        world.stack.callback(house.close)
        return house

    return make


def start(world, house):
    house.start_worker()
    world.stack.callback(house.stop_worker, 5)


def test_a_file_that_is_put_there_is_imported(world, inbox, relay, tools):
    house = relay()
    start(world, house)
    tools.until(lambda: house.ledger.scans.was_completed("inbox"))
    whole = world.folder / "hello.zip"
    whole.write_bytes(make_export("hello"))
    whole.rename(inbox / "hello.zip")
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED, delivery.error
    assert (delivery.bucket, delivery.key) == ("inbox", "hello.zip")


def test_a_file_counts_only_when_it_is_whole(world, inbox, relay, tools):
    house = relay()
    start(world, house)
    tools.until(lambda: house.ledger.scans.was_completed("inbox"))
    body = make_export("hello", code_size=50_000)
    with (inbox / "hello.zip").open("wb") as file:
        for start_ in range(0, len(body), 5_000):
            file.write(body[start_ : start_ + 5_000])
            file.flush()
            tools.until(lambda: True)
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED, delivery.error
    assert len(world.imports()) == 1


def test_the_first_scan_marks_what_is_there_and_the_next_finds_what_came(world, inbox, relay):
    (inbox / "old.zip").write_bytes(make_export("old"))
    house = relay()
    handler = house.plugins.sources["inbox"]
    handler.settings = handler.settings.model_copy(update={"settle": _none()})
    first = house.queue_poller.scanner.scan_once(handler)
    assert (first["listed"], first["found"], first["first"]) == (1, 1, True)
    assert world.imports() == []
    (inbox / "new.zip").write_bytes(make_export("new"))
    again = house.queue_poller.scanner.scan_once(handler)
    assert (again["listed"], again["found"], again["first"]) == (2, 1, False)
    assert [one.key for one in world.imports()] == ["new.zip"]
    assert house.queue_poller.scanner.scan_once(handler)["found"] == 0


def test_a_first_scan_that_broke_off_is_still_the_first(world, inbox, relay, monkeypatch):
    for name in ("a.zip", "b.zip"):
        (inbox / name).write_bytes(make_export(name[0]))
    house = relay()
    handler = house.plugins.sources["inbox"]
    handler.settings = handler.settings.model_copy(update={"settle": _none()})
    pages = list(handler.scan_pages(most=1))

    def broken(since=None, after=None, most=None):
        yield pages[0]
        raise TemporaryFailure("x", "the listing broke off")

    monkeypatch.setattr(handler, "scan_pages", broken)
    with pytest.raises(TemporaryFailure):
        house.queue_poller.scanner.scan_once(handler)
    monkeypatch.undo()
    rest = house.queue_poller.scanner.scan_once(handler)
    assert (rest["first"], rest["resumed"], rest["listed"]) == (True, True, 1)
    again = house.queue_poller.scanner.scan_once(handler)
    assert (again["listed"], again["found"], again["first"]) == (2, 0, False)
    assert world.imports() == []


def test_what_the_first_scan_marked_can_be_submitted(world, inbox, relay):
    (inbox / "old.zip").write_bytes(make_export("old"))
    house = relay()
    handler = house.plugins.sources["inbox"]
    handler.settings = handler.settings.model_copy(update={"settle": _none()})
    house.operations.scan("inbox")
    start(world, house)
    [made] = house.operations.submit("inbox", "inbox", "old.zip")
    world.settled()
    assert house.ledger.history.delivery(made.id).state == State.SUCCEEDED


def test_a_restart_imports_what_came_meanwhile(world, inbox, relay):
    first = relay()
    first.operations.scan("inbox")
    first.close()
    (inbox / "meanwhile.zip").write_bytes(make_export("meanwhile"))
    start(world, relay(every="500ms"))
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED


def _none():
    from datetime import timedelta

    return timedelta(0)
