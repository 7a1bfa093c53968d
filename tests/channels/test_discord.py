"""Discord: what an embed says, that foreign text only stands there, and what the answers mean."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from relay.channels.card import build_card
from relay.channels.discord.card import length, render
from relay.channels.discord.channel import Channel, DiscordSettings
from relay.channels.discord.errors import ERRORS
from relay.config.units import RateLimit
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.responses import LONGEST_WAIT
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import OUTCOMES, ChannelSuite, message, strings
from relay.testing.fake_server import Reply
from relay.testing.messages import digest
from tests.channels.cards import cards, full_cards
from tests.fake_internet import Reply as Answer

TOKEN = "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372"
PATH = f"/api/webhooks/223704706495545344/{TOKEN}"
URL = f"https://discord.com{PATH}"
MADE = {"id": "334385199974967042", "type": 0, "content": "", "channel_id": "290926798999357250"}


def problem(code, words="words", **more):
    return json.dumps({"message": words, "code": code, **more})


def rendered(type_, language="en", **told):
    posted = message(type_, **told)
    return render(build_card(posted.type, posted.body, language))


def embed(told):
    [found] = told["embeds"]
    return found


class Guild:
    """discord.com with one webhook. `answers`: what it says instead, once each."""

    def __init__(self):
        self.answers = []

    def __call__(self, request):
        if self.answers:
            return self.answers.pop(0)
        path, _, query = request.path.partition("?")
        if path != PATH:
            return Answer(404, problem(10015, "Unknown Webhook").encode())
        if request.method == "GET":
            return json.dumps({"name": "Relay", "type": 1, "channel_id": "1"}).encode()
        told = json.loads(request.body)
        shown = embed(told)
        if len(shown["title"]) > 256 or len(shown["description"]) > 4096:
            return Answer(400, problem(50035, "Invalid Form Body").encode())
        if "wait=true" not in query.split("&"):
            return Answer(204)
        # The whole message comes back: far more than an excerpt holds.
        return json.dumps({**MADE, "embeds": told["embeds"]}).encode()


class TestDiscord(ChannelSuite):
    accepts = Reply(200, json.dumps(MADE))
    refuses = Reply(404, problem(10015, "Unknown Webhook"))

    def make(self, url, language, outbound):
        settings = DiscordSettings(kind="discord", url=url, language=language)
        return Channel("ops", settings, outbound)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        told = received.json()
        assert told["allowed_mentions"] == {"parse": []}
        assert told.keys() == {"embeds", "allowed_mentions"}
        shown = embed(told)
        values = [field["value"] for field in shown["fields"]]
        ours = r"\[[^\[\]]+\]\(https://relay\.example\.com/[^()]*\)|\*\*[^*]+\*\*"
        for text in (shown["title"], re.sub(ours, "", shown["description"]), *values):
            in_prose = re.sub(r"`[^`]*`", "", text)
            assert not re.search(r"[*~|\\\[\]<>`]|://|@\w|(?m:^[-#>])", in_prose)


@pytest.fixture
def guild(internet):
    guild = Guild()
    internet.serve("discord.com", guild)
    return guild


@pytest.fixture
def channel(internet, guild):
    outbound = HttpClientFactory(allow_private=internet.allowed, read_timeout=5)
    channel = Channel("ops", DiscordSettings(kind="discord", url=URL), outbound)
    yield channel
    channel.close()


def test_a_success_shows_at_a_glance_what_became_what():
    shown = embed(rendered("import.succeeded"))
    assert shown["title"] == "✅ Imported: orders"
    assert shown["color"] == 0x2EB67D
    assert shown["url"].endswith("/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x")
    assert [(field["name"], field["value"]) for field in shown["fields"]] == [
        ("Function", "`orders`"),
        ("Package", "`default`"),
        ("Target", "`prod, cn-north-4`"),
        ("Change", "new function"),
        ("Object", "`exports/prod/orders.zip`"),
        ("Version", "`v7`"),
        ("Archive", "`1.4 MiB`"),
        ("Code", "`Python3.10, SHA-512 9b71d224bd62…`"),
        ("Attempts", "`2 (4.2 s)`"),
        ("URN", "`urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest`"),
    ]
    assert shown["footer"] == {"text": "Delivery 01kq3v0m5n6p7q8r9s0t1v2w3x"}


def test_a_failure_shows_the_code_what_it_means_what_to_do_and_where():
    shown = embed(rendered("import.failed"))
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert shown["title"] == "❌ Import failed: orders"
    assert shown["color"] == 0xE01E5A
    assert shown["description"].split("\n") == [
        "**What happened**",
        "The end of the archive is missing (`archive.truncated`)",
        "**What to do next**",
        "Upload it again.",
        f"[Open the delivery]({page}) · [Try again]({page}#retrigger)",
    ]


def test_in_chinese_no_label_of_ours_is_left_in_english():
    for type_ in OUTCOMES:
        labels = [field["name"] for field in embed(rendered(type_, "zh"))["fields"]]
        assert [label for label in labels if label.isascii()] in ([], ["URN"])


def test_without_a_public_url_there_are_no_links_and_still_the_deliverys_id():
    posted = message("import.failed")
    posted.body["links"] = {"delivery": None, "retrigger": None}
    told = render(build_card(posted.type, posted.body, "en"))
    assert "url" not in embed(told)
    assert "http" not in "".join(strings(told))
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in embed(told)["footer"]["text"]


def test_a_digest_has_a_line_for_each_with_its_page():
    shown = embed(render(build_card("digest", digest().body, "en")))
    lines = shown["description"].split("\n")
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    failed = f"❌ `orders` Import failed: The end of the archive is missing [→]({page})"
    assert lines[:3] == [failed] * 3
    assert lines[12] == "and 18 more"
    assert (
        lines[13]
        == "[Open the deliveries](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg)"
    )


def test_a_page_cannot_end_its_link():
    told = digest(count=1)
    told.body["deliveries"][0]["links"]["delivery"] = "https://relay.example.com/(a) b"
    shown = embed(render(build_card(told.type, told.body, "en")))["description"]
    assert "[→](https://relay.example.com/%28a%29%20b)" in shown


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("@everyone <@123> <@&4> <#5>", "@\u2060everyone ‹@\u2060123› ‹@&\u20604› ‹#5›"),
        ("<t:1700000000:R> <:x:1>", "‹t:1700000000:R› ‹:\u2060x:1›"),
        ("[a](https://evil.example)", "［a］(https:\u2060//evil.example)"),
        ("# big", "\u2060# big"),
        ("||hidden|| __under__", "∣∣hidden∣∣ ˍˍunderˍˍ"),
    ],
)
def test_hostile_words_only_stand_there(hostile, shown):
    outcome = Failed(Problem("x.y", Localized(hostile, hostile), Localized("", "")))
    told = rendered("import.failed", outcome=outcome)
    assert f"**What happened**\n{shown} (`x.y`)" in embed(told)["description"]
    assert told["allowed_mentions"] == {"parse": []}


def test_hostile_names_are_shown_as_code():
    told = rendered("import.failed", key="@everyone`*b*`<@1>.zip", func_name="{function}")
    values = [field["value"] for field in embed(told)["fields"]]
    assert "`exports/@everyoneˋ*b*ˋ‹@1›.zip`" in values
    assert embed(told)["title"] == "❌ Import failed: @\u2060everyoneˋ∗b∗ˋ‹@\u20601›.zip"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cards | full_cards)
def test_no_card_is_more_than_discord_takes(shown):
    told = embed(render(shown))
    assert 0 < length(told["title"]) <= 256
    assert length(told["description"]) <= 4096
    assert len(told["fields"]) <= 25
    for field in told["fields"]:
        assert 0 < length(field["name"]) <= 256
        assert 0 < length(field["value"]) <= 1024
    fields = [text for field in told["fields"] for text in (field["name"], field["value"])]
    texts = [told["title"], told["description"], told.get("footer", {}).get("text", ""), *fields]
    assert sum(map(length, texts)) <= 6000


def test_a_digest_of_the_worst_names_loses_its_last_lines_only():
    told = digest()
    for one in told.body["deliveries"]:
        one["func_name"] = "😀" * 1000
        one["error"] = {"message": {"en": "*" * 900, "zh": "*" * 900}}
    lines = embed(render(build_card(told.type, told.body, "en")))["description"].split("\n")
    assert len(lines) >= 5
    assert lines[-2:] == [
        "…",
        "[Open the deliveries](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg)",
    ]
    assert all(line.endswith(")") for line in lines[:-2])


def test_it_waits_for_the_message_to_be_made(channel, internet):
    posted = channel.post(message("import.failed"))
    [request] = internet.requests
    assert request.path == f"{PATH}?wait=true"
    assert posted.answer == "200 message 334385199974967042"
    assert posted.thread is None


def test_the_urls_own_query_is_kept(internet, guild):
    outbound = HttpClientFactory(allow_private=internet.allowed)
    url = f"{URL}?thread_id=77&wait=false"
    channel = Channel("ops", DiscordSettings(kind="discord", url=url), outbound)
    channel.post(message("import.failed"))
    channel.close()
    [request] = internet.requests
    assert request.path == f"{PATH}?thread_id=77&wait=true"


def test_an_answer_without_the_message_is_taken_where_discord_says_so(channel, guild):
    guild.answers.append(Answer(204))
    assert channel.post(message("import.failed")).answer == "204"


@pytest.mark.parametrize("body", [b"", b"ok", b"{}", b"[]", b"<html>Sign in</html>"])
def test_200_without_the_message_is_no_success(channel, guild, body):
    guild.answers.append(Answer(200, body))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "discord.not_ok"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 50006),
        (400, 50035),
        (400, 50109),
        (400, 50083),
        (400, 220001),
        (401, 50027),
        (403, 50001),
        (403, 50013),
        (404, 10003),
        (404, 10015),
        (413, 40005),
    ],
)
def test_discords_refusals_are_final_and_say_what_to_do(channel, guild, status, code):
    guild.answers.append(Answer(status, problem(code, f"About {TOKEN}").encode()))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"discord.{code}"
    assert caught.value.answer.startswith(f"{status} ")
    assert TOKEN not in f"{caught.value} {caught.value.answer}"
    for words in (caught.value.message, caught.value.hint):
        assert words.en.isascii()
        assert not words.zh.isascii()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_refusal_that_we_do_not_know_is_final_and_kept(channel, guild, status):
    guild.answers.append(Answer(status, problem(0, "404: Not Found").encode()))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "discord.refused"
    assert "404: Not Found" in caught.value.answer


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"<html>error code: 1015, Cloudflare</html>"),
        (404, b"<html>a proxy's page</html>"),
        (500, b'{"message": "500: Internal Server Error", "code": 0}'),
        (502, b""),
        (503, problem(130000, "API resource is currently overloaded.").encode()),
    ],
)
def test_what_is_not_discords_own_refusal_is_waited_for(channel, guild, status, body):
    guild.answers.append(Answer(status, body))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert channel.post(message("import.failed")).answer.startswith("200")


@pytest.mark.parametrize(
    ("told", "header", "wait"),
    [
        ({"retry_after": 64.57, "global": False}, "65", timedelta(seconds=64.57)),
        ({"retry_after": 2}, None, timedelta(seconds=2)),
        ({"retry_after": 0}, "3", timedelta(seconds=3)),
        ({"retry_after": "soon"}, "3", timedelta(seconds=3)),
        ({"retry_after": True}, None, None),
        ({"retry_after": 1e300}, None, LONGEST_WAIT),
        ({"retry_after": float("nan")}, "3", timedelta(seconds=3)),
        ({}, "9", timedelta(seconds=9)),
    ],
)
def test_being_told_to_slow_down_holds_the_whole_channel(channel, guild, told, header, wait):
    headers = {"Retry-After": header} if header else {}
    body = json.dumps({"message": "You are being rate limited.", **told}).encode()
    guild.answers.append(Answer(429, body, headers))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == wait


def test_a_limit_of_the_whole_address_is_told_as_such(channel, guild):
    body = json.dumps({"message": "x", "retry_after": 1.5, "global": True}).encode()
    guild.answers.append(Answer(429, body, {"X-RateLimit-Global": "true"}))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "discord.busy_everywhere"


def test_ready_asks_for_the_webhook_and_posts_nothing(channel, internet):
    assert channel.ready() == "the webhook Relay exists"
    assert [request.method for request in internet.requests] == ["GET"]


def test_ready_finds_that_the_webhook_was_deleted(internet, guild):
    outbound = HttpClientFactory(allow_private=internet.allowed)
    settings = DiscordSettings(kind="discord", url=f"{URL}x")
    channel = Channel("ops", settings, outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    channel.close()
    assert caught.value.code == "discord.10015"
    assert TOKEN not in f"{caught.value} {caught.value.answer}"


def test_the_words_of_all_refusals_are_in_chinese_too():
    for error in ERRORS.values():
        texts = (error.message, error.hint)
        assert not [text for text in texts if text.zh.isascii() or not text.en.isascii()]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (URL, None),
        (f"{URL}?thread_id=1", None),
        (URL.replace("discord.com", "ptb.discord.com"), None),
        ("https://discord.com.evil.example/api/webhooks/1/x", "its url is not Discord's"),
        (
            f"{URL}/slack",
            "its url ends with /slack or /github",
        ),
    ],
)
def test_what_looks_wrong_is_advice_not_an_error(url, words):
    advice = [said for said, _ in DiscordSettings(kind="discord", url=url).advise()]
    assert advice == ([words] if words else [])


def test_discord_is_told_less_than_it_takes_unless_asked_otherwise():
    # A rate may be spent at once and again within the same minute: twice 15 is what Discord takes.
    assert DiscordSettings(kind="discord", url=URL).rate == RateLimit(15, timedelta(minutes=1))
    assert DiscordSettings(kind="discord", url=URL, rate="5/1m").rate.count == 5


def test_the_url_is_refused_without_being_shown():
    with pytest.raises(ValidationError) as caught:
        DiscordSettings(kind="discord", url=f"discord.com/api/webhooks/1/{TOKEN}")
    assert TOKEN not in str(caught.value)
