"""Slack as a bot: threads, marks, and what the Web API's error words mean."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from relay.channels.card import build_card
from relay.channels.slack.card import LONGEST_TEXT, render
from relay.channels.slack.channel import Channel, SlackSettings
from relay.channels.slack.errors import BOT, WEBHOOK
from relay.config.load import load, secrets
from relay.config.units import RateLimit
from relay.errors import ConfigErrors, PermanentFailure, TemporaryFailure, Throttled
from relay.outbound.session import HttpClientFactory
from relay.plugins import settings_class
from relay.testing.channel_suite import ChannelSuite, message
from relay.testing.fake_server import Reply
from relay.testing.messages import digest
from tests.channels.cards import cards, full_cards
from tests.fake_internet import Reply as Answer

TOKEN = "xoxb-1234567890-abcdefghijkl"
TOP = "1503435956.000247"
THREAD = f"C024BE91L:{TOP}"


class Workspace:
    """slack.com: one channel C024BE91L, #ops, that the bot of TOKEN is a member of.

    `refusals`: what a method answers instead, once each.
    """

    def __init__(self):
        self.calls = []
        self.refusals = {}
        self.member = True
        self.archived = False

    def __call__(self, request):
        method = request.path.removeprefix("/api/")
        form = request.headers["content-type"].startswith("application/x-www-form-urlencoded")
        told = (
            {name: one[0] for name, one in parse_qs(request.body.decode()).items()}
            if form
            else json.loads(request.body)
        )
        self.calls.append((method, told))
        if self.refusals.get(method):
            return self.refusals[method].pop(0)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return said(ok=False, error="invalid_auth")
        return self.answer(method, told)

    def answer(self, method, told):
        if method == "auth.test":
            return said(ok=True, team="Acme", user="relay", team_id="T1", user_id="U1")
        if told.get("channel") not in ("C024BE91L", "#ops"):
            return said(ok=False, error="channel_not_found")
        if method == "conversations.info":
            about = {"id": "C024BE91L", "name": "ops", "is_member": self.member}
            return said(ok=True, channel=about | {"is_archived": self.archived})
        # The real answers hold the whole message: far more than an excerpt does.
        echo = {"text": told.get("text"), "blocks": told.get("blocks")}
        ts = told.get("ts") or f"{1503435955 + len(self.calls)}.000247"
        return said(ok=True, channel="C024BE91L", ts=ts, message=echo)

    def refuse(self, method, *words, status=200, headers=None):
        body = [json.dumps({"ok": False, "error": word}).encode() for word in words]
        self.refusals[method] = [Answer(status, one, headers or {}) for one in body]


def said(**told):
    return json.dumps(told).encode()


def bot(outbound, channel="C024BE91L", **more):
    settings = SlackSettings(kind="slack", token=TOKEN, channel=channel, **more)
    return Channel("ops", settings, outbound)


def recovered(thread=THREAD):
    told = message("import.succeeded")
    body = {**told.body, "recovered": {"failed_at": "2026-03-04T05:00:00Z", "message": "x"}}
    return type(told)(told.id, told.type, told.timestamp, body, thread)


@pytest.fixture
def workspace(internet):
    workspace = Workspace()
    internet.serve("slack.com", workspace)
    return workspace


@pytest.fixture
def channel(workspace, internet):
    channel = bot(HttpClientFactory(allow_private=internet.allowed, read_timeout=5))
    yield channel
    channel.close()


class TestSlackBot(ChannelSuite):
    accepts = Reply(200, json.dumps({"ok": True, "channel": "C024BE91L", "ts": TOP}))
    refuses = Reply(200, json.dumps({"ok": False, "error": "not_in_channel"}))
    secrets = (TOKEN,)

    def make(self, url, language, outbound):
        settings = SlackSettings(kind="slack", token=TOKEN, channel="#ops", language=language)
        return Channel("ops", settings, outbound, api=url)


def test_a_message_goes_to_the_channel_and_its_place_is_kept(channel, workspace, internet):
    posted = channel.post(message("import.failed"))
    [(method, told)] = workspace.calls
    assert (method, told["channel"]) == ("chat.postMessage", "C024BE91L")
    assert told["text"] == "❌ Import failed: orders – The end of the archive is missing"
    assert "thread_ts" not in told
    assert posted.thread == THREAD
    assert posted.answer == f"200 ok, ts {TOP}"
    [request] = internet.requests
    assert TOKEN not in request.path


def test_what_recovered_is_a_reply_seen_by_all_and_marked_at_the_failure(channel, workspace):
    posted = channel.post(recovered())
    (posting, reply), (marking, marked) = workspace.calls
    assert (posting, marking) == ("chat.postMessage", "chat.update")
    assert (reply["channel"], reply["thread_ts"]) == ("C024BE91L", TOP)
    assert reply["reply_broadcast"] is True
    assert (marked["channel"], marked["ts"]) == ("C024BE91L", TOP)
    # With either of them Slack would replace what the message said.
    assert not marked.keys() & {"text", "blocks"}
    [attachment] = marked["attachments"]
    assert attachment["blocks"][0]["text"]["text"] == "💚 Recovered: imported: `orders`"
    assert attachment["blocks"][0]["text"]["verbatim"] is True
    # A reply's own time would begin a thread below it, which Slack has not.
    assert posted.thread == THREAD


def test_what_fails_again_is_a_reply_without_a_mark(channel, workspace):
    again = message("import.failed")
    channel.post(type(again)(again.id, again.type, again.timestamp, again.body, THREAD))
    [(method, reply)] = workspace.calls
    assert method == "chat.postMessage"
    assert reply["thread_ts"] == TOP
    assert reply["reply_broadcast"] is False


@pytest.mark.parametrize("word", ["cant_update_message", "edit_window_closed", "ratelimited"])
def test_a_mark_that_fails_does_not_post_twice(channel, workspace, caplog, word):
    caplog.set_level(logging.WARNING)
    workspace.refuse("chat.update", word)
    assert channel.post(recovered()).thread == THREAD
    assert [method for method, _ in workspace.calls] == ["chat.postMessage", "chat.update"]
    assert "message not marked" in caplog.text


@pytest.mark.parametrize("word", ["thread_not_found", "channel_not_found", "is_archived"])
def test_a_thread_that_is_gone_does_not_cost_the_message(channel, workspace, word):
    workspace.refuse("chat.postMessage", word)
    posted = channel.post(recovered())
    assert [told.get("thread_ts") for _, told in workspace.calls] == [TOP, None]
    assert posted.thread == "C024BE91L:1503435957.000247"


@pytest.mark.parametrize(
    "thread", ["", "C1", "om_dc13264520392913993dd051dba21dcf", "C1:x", "a:1.1"]
)
def test_a_thread_of_another_service_is_none(channel, workspace, thread):
    channel.post(recovered(thread))
    [(_, told)] = workspace.calls
    assert "thread_ts" not in told
    assert told["channel"] == "C024BE91L"


@pytest.mark.parametrize("word", sorted(BOT))
def test_the_apis_refusals_are_final_and_say_what_to_do(channel, workspace, word):
    workspace.refuse("chat.postMessage", word)
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"slack.{word}"
    assert word in caught.value.answer
    for words in (*caught.value.message, *caught.value.hint):
        assert words
    assert not caught.value.hint.zh.isascii()


def test_a_wrong_token_is_told_without_being_shown(workspace, internet):
    outbound = HttpClientFactory(allow_private=internet.allowed)
    settings = SlackSettings(kind="slack", token=f"{TOKEN}x", channel="#ops")
    wrong = Channel("ops", settings, outbound)
    with pytest.raises(PermanentFailure) as caught:
        wrong.post(message("import.failed"))
    wrong.close()
    assert caught.value.code == "slack.invalid_auth"
    assert TOKEN not in f"{caught.value} {caught.value.answer} {settings!r}"


def test_being_told_to_slow_down_holds_the_whole_channel(channel, workspace):
    workspace.refuse("chat.postMessage", "ratelimited", status=429, headers={"Retry-After": "30"})
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("word", ["ratelimited", "rate_limited", "message_limit_exceeded"])
def test_a_limit_that_is_told_in_a_200_is_one_too(channel, workspace, word):
    workspace.refuse("chat.postMessage", word)
    with pytest.raises(Throttled):
        channel.post(message("import.failed"))


@pytest.mark.parametrize(
    "word", ["internal_error", "fatal_error", "service_unavailable", "new_one"]
)
def test_slacks_own_trouble_is_waited_for(channel, workspace, word):
    workspace.refuse("chat.postMessage", word)
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.trouble"
    assert word in caught.value.answer
    assert channel.post(message("import.failed")).thread


@pytest.mark.parametrize("body", [b"ok", b"", b"[]", b"{}", b'{"ok": "true"}', b"<html>Sign in"])
def test_200_without_ok_is_no_success(channel, workspace, body):
    workspace.refusals["chat.postMessage"] = [Answer(200, body)]
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.not_ok"


def test_ready_says_who_the_bot_is_and_what_it_sees(channel, workspace):
    assert channel.ready() == "is relay in Acme; sees #ops"
    assert [method for method, _ in workspace.calls] == ["auth.test", "conversations.info"]


def test_ready_says_that_the_bot_was_not_invited(channel, workspace):
    workspace.member = False
    assert channel.ready() == "is relay in Acme; sees #ops, but is not a member: /invite it"


def test_ready_finds_that_the_channel_is_archived_or_unknown(channel, workspace, internet):
    workspace.archived = True
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    assert caught.value.code == "slack.is_archived"
    elsewhere = bot(HttpClientFactory(allow_private=internet.allowed), channel="C000000000")
    with pytest.raises(PermanentFailure) as caught:
        elsewhere.ready()
    elsewhere.close()
    assert caught.value.code == "slack.channel_not_found"


def test_ready_does_without_the_scope_to_look(channel, workspace):
    workspace.refuse("conversations.info", "missing_scope")
    assert (
        channel.ready()
        == "is relay in Acme; the channel was not checked (needs the scope channels:read)"
    )


def test_ready_cannot_look_a_name_up(workspace, internet):
    named = bot(HttpClientFactory(allow_private=internet.allowed), channel="#ops")
    words = named.ready()
    named.close()
    assert words == "is relay in Acme; the channel was not checked (needs the id, not the name)"


def test_ready_tells_of_a_token_that_was_revoked(channel, workspace):
    workspace.refuse("auth.test", "token_revoked")
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    assert caught.value.code == "slack.token_revoked"


def test_a_webhook_is_at_slacks_own_address_and_has_no_thread(internet):
    internet.serve("hooks.slack.com", lambda request: b"ok")
    url = "https://hooks.slack.com/services/T1/B1/s3cret"
    outbound = HttpClientFactory(allow_private=internet.allowed)
    channel = Channel("ops", SlackSettings(kind="slack", url=url), outbound)
    posted = channel.post(recovered())
    assert channel.ready() is None
    channel.close()
    [request] = internet.requests
    assert "thread_ts" not in json.loads(request.body)
    assert posted.thread is None


def test_a_webhook_that_was_removed_is_told_as_slack_does(internet):
    internet.serve("hooks.slack.com", lambda request: Answer(404, b"no_service"))
    url = "https://hooks.slack.com/services/T1/B1/s3cret"
    outbound = HttpClientFactory(allow_private=internet.allowed)
    channel = Channel("ops", SlackSettings(kind="slack", url=url), outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    channel.close()
    assert caught.value.code == "slack.no_service"


def test_the_words_of_webhooks_and_bots_are_in_chinese_too():
    for error in (*WEBHOOK.values(), *BOT.values()):
        texts = (error.message, error.hint)
        assert not [text for text in texts if text.zh.isascii() or not text.en.isascii()]


@pytest.mark.parametrize(
    ("given_keys", "words"),
    [
        ("", "needs url (an incoming webhook), or token and channel (a bot)"),
        ('url = ""\ntoken = ""', "needs url (an incoming webhook), or token and channel (a bot)"),
        ('token = "xoxb-s3cret"', "needs url (an incoming webhook), or token and channel (a bot)"),
        (
            'url = "https://hooks.slack.com/s3cret"\ntoken = "xoxb-s3cret"\nchannel = "C1"',
            "has a url and a token or channel: either url, or token and channel",
        ),
    ],
)
def test_it_is_either_a_webhook_or_a_bot(tmp_path, given_keys, words):
    file = tmp_path / "relay.toml"
    file.write_text(f'[channels.ops]\nkind = "slack"\n{given_keys}\n')
    with pytest.raises(ConfigErrors) as caught:
        load(file, {}, settings_class)
    [error] = caught.value.errors
    assert error.path == "channels.ops"
    assert words in str(error)
    assert "s3cret" not in str(error)


def test_the_logs_know_the_token_as_a_secret(tmp_path):
    file = tmp_path / "relay.toml"
    file.write_text(f'[channels.ops]\nkind = "slack"\ntoken = "{TOKEN}"\nchannel = "#ops"\n')
    assert TOKEN in set(secrets(load(file, {}, settings_class)))


def test_slack_is_told_one_message_a_second_unless_asked_otherwise():
    url = "https://hooks.slack.com/services/T1/B1/x"
    assert SlackSettings(kind="slack", url=url).rate == RateLimit(1, timedelta(seconds=1))
    assert SlackSettings(kind="slack", url=url, rate="5/1m").rate.count == 5


def test_what_looks_wrong_is_advice_not_an_error():
    def advice(**keys):
        return [words for words, _ in SlackSettings(kind="slack", **keys).advise()]

    assert advice(url="https://hooks.slack.com/services/T1/B1/x") == []
    assert advice(token=TOKEN, channel="C1") == []
    assert advice(url="https://chat.example.com/hooks/x") == ["its url is not Slack's"]
    assert advice(token="xoxp-1", channel="C1") == ["its token is not a bot's"]


def test_a_channel_of_the_settings_is_bounded():
    with pytest.raises(ValidationError):
        SlackSettings(kind="slack", token=TOKEN, channel="C" * 101)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cards | full_cards)
def test_no_card_is_more_than_slack_takes(shown):
    told = render(shown)
    assert len(told["blocks"]) <= 50
    assert len(json.dumps(told["blocks"], ensure_ascii=False)) <= 12_000
    assert len(told["text"]) <= LONGEST_TEXT
    for block in told["blocks"]:
        texts = block.get("fields") or block.get("elements") or [block["text"]]
        assert len(texts) <= 10
        limit = {"header": 150, "context": 2000}.get(
            block["type"], 2000 if "fields" in block else 3000
        )
        assert all(0 < len(text["text"]) <= limit for text in texts)


def test_a_digest_of_the_worst_names_keeps_every_link_whole():
    told = digest(count=500)
    for one in told.body["deliveries"]:
        one["func_name"] = "&" * 900
    shown = render(build_card("digest", told.body, "en"))
    texts = [
        block["text"]["text"]
        for block in shown["blocks"]
        if block["type"] == "section" and "text" in block
    ]
    assert sum(text.count("|→>") for text in texts) >= 5
    assert any(text.endswith("\n…") for text in texts)
    for text in texts:
        assert text.count("<") == text.count(">") == text.count("|")
        assert text.count("`") % 2 == 0
