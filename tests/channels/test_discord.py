"""The Discord channel: embeds, foreign text, and error responses."""

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
from relay.channels.samples import OUTCOMES, digest, message
from relay.config.units import RateLimit
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.responses import LONGEST_WAIT
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import ChannelSuite, strings
from relay.testing.fake_server import Reply
from tests.channels.cards import cards, full_cards
from tests.fake_internet import Reply as HttpReply

TOKEN = "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372"
PATH = f"/api/webhooks/223704706495545344/{TOKEN}"
URL = f"https://discord.com{PATH}"
CREATED = {"id": "334385199974967042", "type": 0, "content": "", "channel_id": "290926798999357250"}


def problem(code, text="text", **fields):
    return json.dumps({"message": text, "code": code, **fields})


def render_message(type_, language="en", **fields):
    sample = message(type_, **fields)
    return render(build_card(sample.type, sample.body, language))


def embed(body):
    [result] = body["embeds"]
    return result


class FakeDiscord:
    """discord.com with a single webhook. `replies`: responses to send instead, once each."""

    def __init__(self):
        self.replies = []

    def __call__(self, request):
        if self.replies:
            return self.replies.pop(0)
        path, _, query = request.path.partition("?")
        if path != PATH:
            return HttpReply(404, problem(10015, "Unknown Webhook").encode())
        if request.method == "GET":
            return json.dumps({"name": "Relay", "type": 1, "channel_id": "1"}).encode()
        body = json.loads(request.body)
        content = embed(body)
        if len(content["title"]) > 256 or len(content["description"]) > 4096:
            return HttpReply(400, problem(50035, "Invalid Form Body").encode())
        if "wait=true" not in query.split("&"):
            return HttpReply(204)
        # Discord returns the whole message, which is longer than an excerpt.
        return json.dumps({**CREATED, "embeds": body["embeds"]}).encode()


class TestDiscord(ChannelSuite):
    accepts = Reply(200, json.dumps(CREATED))
    refuses = Reply(404, problem(10015, "Unknown Webhook"))

    def make(self, url, language, outbound):
        settings = DiscordSettings(kind="discord", url=url, language=language)
        return Channel("ops", settings, outbound)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        body = received.json()
        assert body["allowed_mentions"] == {"parse": []}
        assert body.keys() == {"embeds", "allowed_mentions"}
        content = embed(body)
        values = [field["value"] for field in content["fields"]]
        own = r"\[[^\[\]]+\]\(https://relay\.example\.com/[^()]*\)|\*\*[^*]+\*\*"
        for text in (content["title"], re.sub(own, "", content["description"]), *values):
            foreign = re.sub(r"`[^`]*`", "", text)
            assert not re.search(r"[*~|\\\[\]<>`]|://|@\w|(?m:^[-#>])", foreign)


@pytest.fixture
def discord(internet):
    discord = FakeDiscord()
    internet.serve("discord.com", discord)
    return discord


@pytest.fixture
def channel(internet, discord):
    outbound = HttpClientFactory(allow_private=internet.allowed, read_timeout=5)
    channel = Channel("ops", DiscordSettings(kind="discord", url=URL), outbound)
    yield channel
    channel.close()


def test_a_success_card_has_title_colour_and_facts():
    content = embed(render_message("import.succeeded"))
    assert content["title"] == "✅ Imported: orders"
    assert content["color"] == 0x2EB67D
    assert content["url"].endswith("/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x")
    assert [(field["name"], field["value"]) for field in content["fields"]] == [
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
    assert content["footer"] == {"text": "Delivery 01kq3v0m5n6p7q8r9s0t1v2w3x"}


def test_a_failure_card_has_code_problem_advice_and_links():
    content = embed(render_message("import.failed"))
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert content["title"] == "❌ Import failed: orders"
    assert content["color"] == 0xE01E5A
    assert content["description"].split("\n") == [
        "**What happened**",
        "The end of the archive is missing (`archive.truncated`)",
        "**What to do next**",
        "Upload it again.",
        f"[Open the delivery]({page}) · [Try again]({page}#retrigger)",
    ]


def test_all_labels_are_in_chinese():
    for type_ in OUTCOMES:
        labels = [field["name"] for field in embed(render_message(type_, "zh"))["fields"]]
        assert [label for label in labels if label.isascii()] in ([], ["URN"])


def test_without_a_public_url_there_are_no_links_but_the_delivery_id():
    sample = message("import.failed")
    sample.body["links"] = {"delivery": None, "retrigger": None}
    body = render(build_card(sample.type, sample.body, "en"))
    assert "url" not in embed(body)
    assert "http" not in "".join(strings(body))
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in embed(body)["footer"]["text"]


def test_a_digest_lists_deliveries_with_links():
    content = embed(render(build_card("digest", digest().body, "en")))
    lines = content["description"].split("\n")
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    failed = f"❌ `orders` Import failed: The end of the archive is missing [→]({page})"
    assert lines[:3] == [failed] * 3
    assert lines[12] == "and 18 more"
    assert (
        lines[13]
        == "[Open the deliveries](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg)"
    )


def test_parentheses_in_an_address_are_encoded():
    sample = digest(count=1)
    sample.body["deliveries"][0]["links"]["delivery"] = "https://relay.example.com/(a) b"
    description = embed(render(build_card(sample.type, sample.body, "en")))["description"]
    assert "[→](https://relay.example.com/%28a%29%20b)" in description


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
def test_hostile_text_is_shown_as_text(hostile, shown):
    outcome = Failed(Problem("x.y", Localized(hostile, hostile), Localized("", "")))
    body = render_message("import.failed", outcome=outcome)
    assert f"**What happened**\n{shown} (`x.y`)" in embed(body)["description"]
    assert body["allowed_mentions"] == {"parse": []}


def test_hostile_names_are_shown_as_code():
    body = render_message("import.failed", key="@everyone`*b*`<@1>.zip", func_name="{function}")
    values = [field["value"] for field in embed(body)["fields"]]
    assert "`exports/@everyoneˋ*b*ˋ‹@1›.zip`" in values
    assert embed(body)["title"] == "❌ Import failed: @\u2060everyoneˋ∗b∗ˋ‹@\u20601›.zip"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cards | full_cards)
def test_every_card_fits_the_limits_of_discord(card):
    content = embed(render(card))
    assert 0 < length(content["title"]) <= 256
    assert length(content["description"]) <= 4096
    assert len(content["fields"]) <= 25
    for field in content["fields"]:
        assert 0 < length(field["name"]) <= 256
        assert 0 < length(field["value"]) <= 1024
    fields = [text for field in content["fields"] for text in (field["name"], field["value"])]
    texts = [
        content["title"],
        content["description"],
        content.get("footer", {}).get("text", ""),
        *fields,
    ]
    assert sum(map(length, texts)) <= 6000


def test_a_digest_that_is_too_long_loses_only_the_last_lines():
    sample = digest()
    for delivery in sample.body["deliveries"]:
        delivery["func_name"] = "😀" * 1000
        delivery["error"] = {"message": {"en": "*" * 900, "zh": "*" * 900}}
    lines = embed(render(build_card(sample.type, sample.body, "en")))["description"].split("\n")
    assert len(lines) >= 5
    assert lines[-2:] == [
        "…",
        "[Open the deliveries](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg)",
    ]
    assert all(line.endswith(")") for line in lines[:-2])


def test_the_request_waits_for_the_created_message(channel, internet):
    posted = channel.post(message("import.failed"))
    [request] = internet.requests
    assert request.path == f"{PATH}?wait=true"
    assert posted.answer == "200 message 334385199974967042"
    assert posted.thread is None


def test_the_query_of_the_url_is_kept(internet, discord):
    outbound = HttpClientFactory(allow_private=internet.allowed)
    url = f"{URL}?thread_id=77&wait=false"
    channel = Channel("ops", DiscordSettings(kind="discord", url=url), outbound)
    channel.post(message("import.failed"))
    channel.close()
    [request] = internet.requests
    assert request.path == f"{PATH}?thread_id=77&wait=true"


def test_204_is_a_success(channel, discord):
    discord.replies.append(HttpReply(204))
    assert channel.post(message("import.failed")).answer == "204"


@pytest.mark.parametrize("body", [b"", b"ok", b"{}", b"[]", b"<html>Sign in</html>"])
def test_200_without_a_message_is_not_a_success(channel, discord, body):
    discord.replies.append(HttpReply(200, body))
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
def test_known_errors_are_permanent_and_have_a_hint(channel, discord, status, code):
    discord.replies.append(HttpReply(status, problem(code, f"About {TOKEN}").encode()))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"discord.{code}"
    assert caught.value.answer.startswith(f"{status} ")
    assert TOKEN not in f"{caught.value} {caught.value.answer}"
    for text in (caught.value.message, caught.value.hint):
        assert text.en.isascii()
        assert not text.zh.isascii()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_an_unknown_refusal_is_permanent_and_its_text_is_stored(channel, discord, status):
    discord.replies.append(HttpReply(status, problem(0, "404: Not Found").encode()))
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
def test_errors_of_proxies_and_servers_are_temporary(channel, discord, status, body):
    discord.replies.append(HttpReply(status, body))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert channel.post(message("import.failed")).answer.startswith("200")


@pytest.mark.parametrize(
    ("fields", "header", "wait"),
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
def test_the_rate_limit_holds_the_channel(channel, discord, fields, header, wait):
    headers = {"Retry-After": header} if header else {}
    body = json.dumps({"message": "You are being rate limited.", **fields}).encode()
    discord.replies.append(HttpReply(429, body, headers))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == wait


def test_the_rate_limit_of_the_ip_address_has_its_own_code(channel, discord):
    body = json.dumps({"message": "x", "retry_after": 1.5, "global": True}).encode()
    discord.replies.append(HttpReply(429, body, {"X-RateLimit-Global": "true"}))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "discord.busy_everywhere"


def test_ready_reads_the_webhook_and_posts_nothing(channel, internet):
    assert channel.ready() == "the webhook Relay exists"
    assert [request.method for request in internet.requests] == ["GET"]


def test_ready_reports_a_deleted_webhook(internet, discord):
    outbound = HttpClientFactory(allow_private=internet.allowed)
    settings = DiscordSettings(kind="discord", url=f"{URL}x")
    channel = Channel("ops", settings, outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    channel.close()
    assert caught.value.code == "discord.10015"
    assert TOKEN not in f"{caught.value} {caught.value.answer}"


def test_every_error_is_explained_in_english_and_chinese():
    for error in ERRORS.values():
        texts = (error.message, error.hint)
        assert not [text for text in texts if text.zh.isascii() or not text.en.isascii()]


@pytest.mark.parametrize(
    ("url", "warning"),
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
def test_an_unusual_url_causes_a_warning(url, warning):
    advice = [text for text, _ in DiscordSettings(kind="discord", url=url).advise()]
    assert advice == ([warning] if warning else [])


def test_the_default_rate_is_below_the_limit_of_discord():
    # A rate may be used up twice within a minute: twice 15 is the limit of Discord.
    assert DiscordSettings(kind="discord", url=URL).rate == RateLimit(15, timedelta(minutes=1))
    assert DiscordSettings(kind="discord", url=URL, rate="5/1m").rate.count == 5


def test_an_invalid_url_is_refused_and_not_shown():
    with pytest.raises(ValidationError) as caught:
        DiscordSettings(kind="discord", url=f"discord.com/api/webhooks/1/{TOKEN}")
    assert TOKEN not in str(caught.value)
