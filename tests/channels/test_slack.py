"""The Slack channel as an incoming webhook: cards, foreign text, and error responses."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from pydantic import ValidationError

from relay.channels.card import build_card
from relay.channels.samples import OUTCOMES, message
from relay.channels.slack.card import (
    LONGEST_FIELD,
    LONGEST_HEADER,
    LONGEST_TEXT,
    MOST_FIELDS,
    render,
)
from relay.channels.slack.channel import Channel, SlackSettings
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem, Skipped, Succeeded
from relay.testing.channel_suite import ChannelSuite, strings
from relay.testing.fake_server import Reply


def build_channel(url, outbound, language="en"):
    return Channel("ops", SlackSettings(kind="slack", url=url, language=language), outbound)


def render_message(type_, language="en", **fields):
    sample = message(type_, **fields)
    return render(build_card(sample.type, sample.body, language))


def texts(block):
    if block["type"] == "context":
        return block["elements"]
    return [block["text"]] if "text" in block else block["fields"]


def every_text(body):
    return [text for block in body["blocks"] for text in texts(block)]


def failed_with(text, code="x.y"):
    return Failed(Problem(code, Localized(text, text), Localized(text, text)))


class TestSlack(ChannelSuite):
    accepts = Reply(200, "ok")
    refuses = Reply(404, "no_service")

    def make(self, url, language, outbound):
        return build_channel(url, outbound, language)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        body = received.json()
        assert body["unfurl_links"] is body["unfurl_media"] is False
        assert len(body["blocks"]) <= 50
        for text in every_text(body):
            if text["type"] == "mrkdwn":
                assert text["verbatim"] is True
                foreign = re.sub(r"<https://relay\.example\.com/[^<>|]*\|[^<>]*>", "", text["text"])
                assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", foreign)
            else:
                assert text["emoji"] is False


@pytest.fixture
def channel(stand_in, outbound):
    channel = build_channel(stand_in.url, outbound)
    yield channel
    channel.close()


def test_a_success_card_has_header_and_facts():
    body = render_message("import.succeeded")
    assert body["text"] == "✅ Imported: orders"
    assert body["blocks"][0]["text"] == {
        "type": "plain_text",
        "text": "✅ Imported: orders",
        "emoji": False,
    }
    fields = [text["text"] for text in body["blocks"][1]["fields"]]
    assert fields == [
        "*Function*\n`orders`",
        "*Package*\n`default`",
        "*Target*\n`prod, cn-north-4`",
        "*Change*\nnew function",
        "*Object*\n`exports/prod/orders.zip`",
        "*Version*\n`v7`",
        "*Archive*\n`1.4 MiB`",
        "*Code*\n`Python3.10, SHA-512 9b71d224bd62…`",
        "*Attempts*\n`2 (4.2 s)`",
        "*URN*\n`urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest`",
    ]
    assert "What to do next" not in "".join(strings(body))


def test_a_failure_card_has_code_problem_and_advice():
    body = render_message("import.failed")
    lines = [text["text"] for text in every_text(body)]
    assert body["text"] == "❌ Import failed: orders – The end of the archive is missing"
    assert "*What happened*\nThe end of the archive is missing (`archive.truncated`)" in lines
    assert "*What to do next*\nUpload it again." in lines


def test_a_skip_card_has_the_reason():
    content = "\n".join(text["text"] for text in every_text(render_message("import.skipped")))
    assert "⏭️ Import skipped: orders" in content
    assert "*Reason*\nThe target already holds exactly this code." in content


def test_all_labels_are_in_chinese():
    for type_ in OUTCOMES:
        content = "\n".join(text["text"] for text in every_text(render_message(type_, "zh")))
        labels = re.findall(r"^\*(.+)\*$", content, re.MULTILINE)
        assert labels
        assert [label for label in labels if label.isascii()] in ([], ["URN"])
    assert "导入失败" in render_message("import.failed", "zh")["text"]


def test_the_links_lead_to_the_page_of_the_delivery():
    lines = [text["text"] for text in every_text(render_message("import.failed"))]
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert f"<{page}|Open the delivery> · <{page}#retrigger|Try again>" in lines


def test_without_a_public_url_there_are_no_links_but_the_delivery_id():
    sample = message("import.failed")
    sample.body["links"] = {"delivery": None, "retrigger": None}
    content = "".join(strings(render(build_card(sample.type, sample.body, "en"))))
    assert "<http" not in content
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in content


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<!here>", "&lt;!here&gt;"),
        ("<@U123|you>", "&lt;@\u2060U123|you&gt;"),
        ("<#C123>", "&lt;#C123&gt;"),
        ("<https://evil.example|click>", "&lt;https://evil.example|click&gt;"),
        ("@channel", "@\u2060channel"),
        ("@everyone", "@\u2060everyone"),
        ("a & b &lt; c", "a &amp; b &amp;lt; c"),
        ("*bold* ~gone~ `code`", "∗bold∗ ∼gone∼ ˋcodeˋ"),
        ("_slanted_ but on_conflict", "ˍslantedˍ but on_conflict"),
        (":tada: at 10:30:00", ":\u2060tada: at 10:\u206030:00"),
        ("a\r\n\t> b\x00\x1b[31m\u2028c", "a &gt; b[31m c"),
        ("\u202egpj.exe\u2066\u200f", "gpj.exe"),
    ],
)
def test_hostile_text_in_a_sentence_is_shown_as_text(hostile, shown):
    body = render_message("import.failed", outcome=failed_with(hostile))
    assert f"*What happened*\n{shown} (`x.y`)" in [text["text"] for text in every_text(body)]
    assert body["text"] == f"❌ Import failed: orders – {shown}"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("<!here>.zip", "`exports/&lt;!here&gt;.zip`"),
        ("a`*b*`.zip", "`exports/aˋ*b*ˋ.zip`"),
        ("x\u202egpj.exe", "`exports/xgpj.exe`"),
        ("a\nb&c", "`exports/a b&amp;c`"),
    ],
)
def test_hostile_keys_are_code_spans(key, shown):
    body = render_message("import.failed", key=key)
    assert f"*Object*\n{shown}" in [text["text"] for text in every_text(body)]


def test_a_name_in_the_header_contains_no_markup():
    outcome = Succeeded({"func_name": "<!channel> & :tada:"})
    header = render_message("import.succeeded", outcome=outcome)["blocks"][0]["text"]
    assert header["text"] == "✅ Imported: ‹!channel› ＆ :tada:"
    assert header["emoji"] is False


@pytest.mark.parametrize("character", ["x", "&", "<", "名", "😀", "`"])
def test_long_text_is_shortened_to_the_limits_of_slack(character):
    long = character * 10_000
    outcome = failed_with(long, code=long)
    body = render_message(
        "import.failed", outcome=outcome, key=f"{long}/{long}.zip", func_name="{function}"
    )
    for block in body["blocks"]:
        assert len(block.get("fields", ())) <= MOST_FIELDS
        for text in texts(block):
            limits = {"header": LONGEST_HEADER}
            field = "fields" in block or block["type"] == "context"
            longest = limits.get(block["type"], LONGEST_FIELD if field else LONGEST_TEXT)
            assert 0 < len(text["text"]) <= longest
            assert not re.search(r"&[a-z]{0,3}(?![a-z;])", text["text"])
    assert len(body["text"]) <= LONGEST_TEXT
    assert not re.search(r"&[a-z]{0,3}(?![a-z;])", body["text"])
    assert "…" in body["blocks"][0]["text"]["text"]
    assert ".zip" in "".join(strings(body["blocks"][1]))


def test_missing_values_are_not_shown():
    outcome = Skipped("something new")
    body = render_message("import.skipped", outcome=outcome)
    content = "\n".join(text["text"] for text in every_text(body))
    assert "*Reason*\nsomething new" in content
    assert "None" not in content
    assert "URN" not in content


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (403, "invalid_token"),
        (404, "no_service"),
        (404, "no_team"),
        (404, "channel_not_found"),
        (410, "channel_is_archived"),
        (200, "no_service"),
    ],
)
def test_known_errors_are_permanent_and_have_a_hint(channel, stand_in, status, word):
    stand_in.replies.append(Reply(status, word))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"slack.{word}"
    assert caught.value.answer == f"{status} {word}"
    for text in (*caught.value.message, *caught.value.hint):
        assert text


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_an_unknown_refusal_is_permanent_and_its_text_is_stored(channel, stand_in, status):
    stand_in.replies.append(Reply(status, "brand_new_error"))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.refused"
    assert caught.value.answer == f"{status} brand_new_error"


def test_the_rate_limit_holds_the_channel(channel, stand_in):
    stand_in.replies.append(Reply(429, "rate_limited", {"Retry-After": "30"}))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("response", ["", "<html>Sign in to the hotel's network</html>", "OK then"])
def test_200_without_ok_is_not_a_success(channel, stand_in, response):
    stand_in.replies.append(Reply(200, response))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.not_ok"


def test_a_server_error_of_slack_is_temporary(channel, stand_in):
    stand_in.replies.append(Reply(500, "rollup_error"))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "channel.down"
    assert channel.post(message("import.failed")).answer == "200 ok"


def test_an_invalid_url_is_refused_and_not_shown():
    with pytest.raises(ValidationError) as caught:
        SlackSettings(kind="slack", url="hooks.slack.com/services/T0/B0/s3cret")
    assert "s3cret" not in str(caught.value)
