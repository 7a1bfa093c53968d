"""Slack: what a card says, that foreign text only stands there, and what Slack's answers mean."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from pydantic import ValidationError

from relay.channels.card import build_card
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
from relay.testing.channel_suite import OUTCOMES, ChannelSuite, message, strings
from relay.testing.fake_server import Reply


def made(url, outbound, language="en"):
    return Channel("ops", SlackSettings(kind="slack", url=url, language=language), outbound)


def rendered(type_, language="en", **told):
    posted = message(type_, **told)
    return render(build_card(posted.type, posted.body, language))


def texts(block):
    if block["type"] == "context":
        return block["elements"]
    return [block["text"]] if "text" in block else block["fields"]


def every_text(told):
    return [text for block in told["blocks"] for text in texts(block)]


def failed_with(words, code="x.y"):
    return Failed(Problem(code, Localized(words, words), Localized(words, words)))


class TestSlack(ChannelSuite):
    accepts = Reply(200, "ok")
    refuses = Reply(404, "no_service")

    def make(self, url, language, outbound):
        return made(url, outbound, language)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        told = received.json()
        assert told["unfurl_links"] is told["unfurl_media"] is False
        assert len(told["blocks"]) <= 50
        for text in every_text(told):
            if text["type"] == "mrkdwn":
                assert text["verbatim"] is True
                ours = re.sub(r"<https://relay\.example\.com/[^<>|]*\|[^<>]*>", "", text["text"])
                assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", ours)
            else:
                assert text["emoji"] is False


@pytest.fixture
def channel(stand_in, outbound):
    channel = made(stand_in.url, outbound)
    yield channel
    channel.close()


def test_a_success_shows_at_a_glance_what_became_what():
    told = rendered("import.succeeded")
    assert told["text"] == "✅ Imported: orders"
    assert told["blocks"][0]["text"] == {
        "type": "plain_text",
        "text": "✅ Imported: orders",
        "emoji": False,
    }
    fields = [text["text"] for text in told["blocks"][1]["fields"]]
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
    assert "What to do next" not in "".join(strings(told))


def test_a_failure_shows_the_code_what_it_means_and_what_to_do():
    told = rendered("import.failed")
    shown = [text["text"] for text in every_text(told)]
    assert told["text"] == "❌ Import failed: orders – The end of the archive is missing"
    assert "*What happened*\nThe end of the archive is missing (`archive.truncated`)" in shown
    assert "*What to do next*\nUpload it again." in shown


def test_a_skip_shows_why():
    shown = "\n".join(text["text"] for text in every_text(rendered("import.skipped")))
    assert "⏭️ Import skipped: orders" in shown
    assert "*Reason*\nThe target already holds exactly this code." in shown


def test_in_chinese_no_label_of_ours_is_left_in_english():
    for type_ in OUTCOMES:
        shown = "\n".join(text["text"] for text in every_text(rendered(type_, "zh")))
        labels = re.findall(r"^\*(.+)\*$", shown, re.MULTILINE)
        assert labels
        assert [label for label in labels if label.isascii()] in ([], ["URN"])
    assert "导入失败" in rendered("import.failed", "zh")["text"]


def test_the_links_lead_to_the_delivery_and_to_its_retrigger():
    shown = [text["text"] for text in every_text(rendered("import.failed"))]
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert f"<{page}|Open the delivery> · <{page}#retrigger|Try again>" in shown


def test_without_a_public_url_there_are_no_links_and_still_the_deliverys_id():
    posted = message("import.failed")
    posted.body["links"] = {"delivery": None, "retrigger": None}
    shown = "".join(strings(render(build_card(posted.type, posted.body, "en"))))
    assert "<http" not in shown
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in shown


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
def test_hostile_words_in_a_sentence_only_stand_there(hostile, shown):
    told = rendered("import.failed", outcome=failed_with(hostile))
    assert f"*What happened*\n{shown} (`x.y`)" in [text["text"] for text in every_text(told)]
    assert told["text"] == f"❌ Import failed: orders – {shown}"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("<!here>.zip", "`exports/&lt;!here&gt;.zip`"),
        ("a`*b*`.zip", "`exports/aˋ*b*ˋ.zip`"),
        ("x\u202egpj.exe", "`exports/xgpj.exe`"),
        ("a\nb&c", "`exports/a b&amp;c`"),
    ],
)
def test_hostile_keys_are_shown_as_code(key, shown):
    told = rendered("import.failed", key=key)
    assert f"*Object*\n{shown}" in [text["text"] for text in every_text(told)]


def test_a_name_cannot_make_markup_of_the_header():
    outcome = Succeeded({"func_name": "<!channel> & :tada:"})
    header = rendered("import.succeeded", outcome=outcome)["blocks"][0]["text"]
    assert header["text"] == "✅ Imported: ‹!channel› ＆ :tada:"
    assert header["emoji"] is False


@pytest.mark.parametrize("character", ["x", "&", "<", "名", "😀", "`"])
def test_text_of_ten_thousand_characters_is_cut_to_slacks_limits(character):
    long = character * 10_000
    outcome = failed_with(long, code=long)
    told = rendered(
        "import.failed", outcome=outcome, key=f"{long}/{long}.zip", func_name="{function}"
    )
    for block in told["blocks"]:
        assert len(block.get("fields", ())) <= MOST_FIELDS
        for text in texts(block):
            limits = {"header": LONGEST_HEADER}
            field = "fields" in block or block["type"] == "context"
            longest = limits.get(block["type"], LONGEST_FIELD if field else LONGEST_TEXT)
            assert 0 < len(text["text"]) <= longest
            assert not re.search(r"&[a-z]{0,3}(?![a-z;])", text["text"])
    assert len(told["text"]) <= LONGEST_TEXT
    assert not re.search(r"&[a-z]{0,3}(?![a-z;])", told["text"])
    assert "…" in told["blocks"][0]["text"]["text"]
    assert ".zip" in "".join(strings(told["blocks"][1]))


def test_what_we_do_not_know_is_not_shown():
    outcome = Skipped("something new")
    told = rendered("import.skipped", outcome=outcome)
    shown = "\n".join(text["text"] for text in every_text(told))
    assert "*Reason*\nsomething new" in shown
    assert "None" not in shown
    assert "URN" not in shown


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
def test_slacks_refusals_are_final_and_say_what_to_do(channel, stand_in, status, word):
    stand_in.replies.append(Reply(status, word))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"slack.{word}"
    assert caught.value.answer == f"{status} {word}"
    for words in (*caught.value.message, *caught.value.hint):
        assert words


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_that_we_do_not_know_is_final_and_kept(channel, stand_in, status):
    stand_in.replies.append(Reply(status, "brand_new_error"))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.refused"
    assert caught.value.answer == f"{status} brand_new_error"


def test_being_told_to_slow_down_holds_the_whole_channel(channel, stand_in):
    stand_in.replies.append(Reply(429, "rate_limited", {"Retry-After": "30"}))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("answer", ["", "<html>Sign in to the hotel's network</html>", "OK then"])
def test_200_without_slacks_ok_is_no_success(channel, stand_in, answer):
    stand_in.replies.append(Reply(200, answer))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.not_ok"


def test_slacks_own_trouble_is_waited_for(channel, stand_in):
    stand_in.replies.append(Reply(500, "rollup_error"))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "channel.down"
    assert channel.post(message("import.failed")).answer == "200 ok"


def test_the_url_is_refused_without_being_shown():
    with pytest.raises(ValidationError) as caught:
        SlackSettings(kind="slack", url="hooks.slack.com/services/T0/B0/s3cret")
    assert "s3cret" not in str(caught.value)
