"""`relay channels`: the list, test messages through real channels, and previews."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.channels.samples import TYPES
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


def test_an_empty_list_names_the_missing_table(run: Run) -> None:
    assert "[channels.NAME]" in run("channels").stdout


@pytest.mark.usefixtures("stand_in")
def test_the_list_has_settings_and_no_secrets(run: Run) -> None:
    text = run("channels").stdout
    head, *rows = text.splitlines()
    assert head.split()[:3] == ["channel", "kind", "language"]
    assert "22:00-07:00 Asia/Shanghai" in rows[1]
    assert SECRET_PATH not in text
    channels = json.loads(run("channels", "list", "--json").stdout)["channels"]
    assert [(channel["name"], channel["kind"], channel["on"]) for channel in channels][2] == (
        "machine",
        "webhook",
        ["failed"],
    )


@pytest.mark.parametrize("type_", TYPES)
def test_a_test_message_is_posted_and_marked(run: Run, stand_in: StandIn, type_: str) -> None:
    result = run("channels", "test", "ops", "--type", type_)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("posted to ops (slack)")
    (received,) = stand_in.received
    text = "\n".join(strings(received.json()))
    assert "TEST · " in text
    assert "the events are not real" in text
    assert "https://relay.example.com/links/test" in text


def test_a_webhook_message_is_marked_as_a_test(run: Run, stand_in: StandIn) -> None:
    assert run("channels", "test", "machine", "--type", "failed").exit_code == 0
    payload = stand_in.received[0].json()
    assert (payload["type"], payload["data"]["test"]) == ("import.failed", True)


def test_a_refusal_ends_with_1_and_shows_the_response(run: Run, stand_in: StandIn) -> None:
    stand_in.replies.append(Reply(404, "no_service"))
    result = run("channels", "test", "ops")
    assert result.exit_code == 1
    assert "not posted to ops (slack): The Slack webhook was removed" in result.stdout
    assert "response: 404 no_service" in result.stdout
    assert SECRET_PATH not in result.output


def test_success_and_failure_as_json(run: Run, stand_in: StandIn) -> None:
    assert json.loads(run("channels", "test", "ops", "--json").stdout)["posted"] is True
    stand_in.replies.append(Reply(500, "oops"))
    result = run("channels", "test", "ops", "--json")
    printed = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (printed["posted"], printed["error"]["code"]) == (False, "channel.down")


@pytest.mark.usefixtures("stand_in")
def test_an_unknown_channel_is_reported_with_the_known_channels(run: Run) -> None:
    result = run("channels", "test", "unknown")
    assert result.exit_code == 1
    assert "There is no channel 'unknown'" in result.stderr
    assert "machine, ops, team" in result.stderr


@pytest.mark.parametrize("name", ["ops", "team", "machine"])
@pytest.mark.parametrize("type_", TYPES)
def test_a_preview_prints_the_body_and_posts_nothing(
    run: Run, stand_in: StandIn, name: str, type_: str
) -> None:
    result = run("channels", "test", name, "--type", type_, "--preview")
    assert result.exit_code == 0, result.output
    assert stand_in.received == []
    body = json.loads(result.stdout)
    assert "orders" in result.stdout or "prod" in result.stdout
    if name == "team":
        assert "测试" in result.stdout  # not escaped as \u6d4b
    assert SECRET_PATH not in result.stdout
    assert isinstance(body, dict)


@pytest.mark.usefixtures("stand_in")
def test_check_explains_how_to_test_a_channel(run: Run) -> None:
    output = run("check", "--connect").stdout
    assert "not tried channels.ops" in output
    assert "`relay channels test ops` posts a test" in output


@pytest.mark.usefixtures("stand_in")
def test_a_preview_reports_a_template_that_fails(run: Run, folder: Path) -> None:
    file = folder / "relay.toml"
    file.write_text(file.read_text() + "[channels.machine.words]\n")
    templates = '[channels.ops.words]\ntitle = "{{ nosuch }}"\nfooter = "on call: 4711"\n'
    file.write_text(file.read_text().replace("[channels.machine.words]\n", templates))
    text = run("channels", "test", "ops", "--preview").stdout
    assert "on call: 4711" in text
    assert "title" in text.split("on call: 4711")[1]
    assert "the events are not real" in text
