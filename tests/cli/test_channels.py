"""`relay channels`: what there is; a test message through a real channel; how it would look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.cli.channels_samples import TYPES
from relay.testing.channel_suite import strings
from relay.testing.fake_server import SECRET_PATH, Reply, StandIn

from .conftest import Run

CONFIGURATION = """
public_url = "https://relay.example.com"
[outbound]
allow_private = ["127.0.0.0/8"]
[channels.ops]
kind = "slack"
url = "{url}"
[channels.team]
kind = "feishu"
language = "zh"
quiet_hours = "22:00-07:00"
timezone = "Asia/Shanghai"
url = "{url}"
[channels.machine]
kind = "webhook"
on = ["failed"]
url = "{url}"
"""


@pytest.fixture
def stand_in(folder: Path) -> Iterator[StandIn]:
    with StandIn(Reply(200, "ok")) as stand_in:
        (folder / "relay.toml").write_text(CONFIGURATION.format(url=stand_in.url))
        yield stand_in


def test_without_channels_it_says_how_one_is_made(run: Run) -> None:
    assert "[channels.NAME]" in run("channels").stdout


@pytest.mark.usefixtures("stand_in")
def test_the_list_tells_how_each_is_told_and_nothing_secret(run: Run) -> None:
    told = run("channels").stdout
    head, *rows = told.splitlines()
    assert head.split()[:3] == ["channel", "kind", "language"]
    assert "22:00-07:00 Asia/Shanghai" in rows[1]
    assert SECRET_PATH not in told
    listed = json.loads(run("channels", "list", "--json").stdout)["channels"]
    assert [(one["name"], one["kind"], one["on"]) for one in listed][2] == (
        "machine",
        "webhook",
        ["failed"],
    )


@pytest.mark.parametrize("word", TYPES)
def test_a_test_is_posted_and_says_that_it_is_one(run: Run, stand_in: StandIn, word: str) -> None:
    result = run("channels", "test", "ops", "--type", word)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("posted to ops (slack)")
    (received,) = stand_in.received
    told = "\n".join(strings(received.json()))
    assert "TEST · " in told
    assert "the events are not real" in told
    assert "https://relay.example.com/links/test" in told


def test_a_machine_is_told_that_it_is_a_test(run: Run, stand_in: StandIn) -> None:
    assert run("channels", "test", "machine", "--type", "failed").exit_code == 0
    told = stand_in.received[0].json()
    assert (told["type"], told["data"]["test"]) == ("import.failed", True)


def test_a_refusal_ends_with_1_and_the_words_of_the_service(run: Run, stand_in: StandIn) -> None:
    stand_in.replies.append(Reply(404, "no_service"))
    result = run("channels", "test", "ops")
    assert result.exit_code == 1
    assert "not posted to ops (slack): The Slack webhook was removed" in result.stdout
    assert "response: 404 no_service" in result.stdout
    assert SECRET_PATH not in result.output


def test_both_ends_are_told_as_json(run: Run, stand_in: StandIn) -> None:
    assert json.loads(run("channels", "test", "ops", "--json").stdout)["posted"] is True
    stand_in.replies.append(Reply(500, "oops"))
    result = run("channels", "test", "ops", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["posted"], told["error"]["code"]) == (1, False, "channel.down")


@pytest.mark.usefixtures("stand_in")
def test_a_channel_that_is_not_there_is_named_with_those_that_are(run: Run) -> None:
    result = run("channels", "test", "nobody")
    assert result.exit_code == 1
    assert "There is no channel 'nobody'" in result.stderr
    assert "machine, ops, team" in result.stderr


@pytest.mark.parametrize("name", ["ops", "team", "machine"])
@pytest.mark.parametrize("word", TYPES)
def test_a_preview_posts_nothing_and_is_what_would_be_posted(
    run: Run, stand_in: StandIn, name: str, word: str
) -> None:
    result = run("channels", "test", name, "--type", word, "--preview")
    assert result.exit_code == 0, result.output
    assert stand_in.received == []
    shown = json.loads(result.stdout)
    assert "orders-sync" in result.stdout or "prod" in result.stdout
    if name == "team":
        assert "测试" in result.stdout  # as people read it, not as \u6d4b
    assert SECRET_PATH not in result.stdout
    assert isinstance(shown, dict)


@pytest.mark.usefixtures("stand_in")
def test_check_says_how_a_channel_is_tried(run: Run) -> None:
    told = run("check", "--connect").stdout
    assert "not tried channels.ops" in told
    assert "`relay channels test ops` posts a test" in told


@pytest.mark.usefixtures("stand_in")
def test_a_template_that_is_broken_is_told_in_the_preview(run: Run, folder: Path) -> None:
    file = folder / "relay.toml"
    file.write_text(file.read_text() + "[channels.machine.words]\n")
    words = '[channels.ops.words]\ntitle = "{{ nosuch }}"\nfooter = "on call: 4711"\n'
    file.write_text(file.read_text().replace("[channels.machine.words]\n", words))
    told = run("channels", "test", "ops", "--preview").stdout
    assert "on call: 4711" in told
    assert "title" in told.split("on call: 4711")[1]
    assert "the events are not real" in told
