"""The Teams channel: cards, foreign text, and error responses."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from relay.channels.card import build_card, encode
from relay.channels.samples import OUTCOMES, digest, message, target_message
from relay.channels.teams.card import LARGEST, render
from relay.channels.teams.channel import Channel, TeamsSettings
from relay.channels.teams.errors import BY_CODE, BY_STATUS
from relay.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import ChannelSuite, strings
from relay.testing.fake_server import Reply
from tests.channels.cards import cards, full_cards
from tests.fake_internet import Reply as HttpReply

HOST = "prod-11.westeurope.logic.azure.com"
URL = (
    f"https://{HOST}:443/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s3cretS1gnatureXYZ-_"
)
CONNECTOR = "https://acme.webhook.office.com/webhookb2/1@2/IncomingWebhook/s3cr3t/3"
DELIVERY_FAILED = "Webhook message delivery failed with error: Microsoft Teams endpoint returned"


def problem(code, text="text"):
    return json.dumps({"error": {"code": code, "message": text}})


def render_message(type_, language="en", **fields):
    sample = message(type_, **fields)
    return render(build_card(sample.type, sample.body, language))


def content(body):
    [attachment] = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def texts(body):
    """Yield every text that Teams interprets as Markdown."""
    for element in content(body)["body"]:
        for item in element.get("items", [element]):
            if item["type"] == "FactSet":
                for fact in item["facts"]:
                    yield from fact.values()
            else:
                yield item["text"]


def facts(body):
    [fact_set] = [item for item in content(body)["body"] if item["type"] == "FactSet"]
    return [(fact["title"], fact["value"]) for fact in fact_set["facts"]]


class TestTeams(ChannelSuite):
    accepts = Reply(202, "")
    refuses = Reply(404, problem("WorkflowNotFound"))

    def make(self, url, language, outbound):
        return Channel("ops", TeamsSettings(kind="teams", url=url, language=language), outbound)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        body = received.json()
        assert content(body)["msteams"] == {"width": "Full"}
        for text in texts(body):
            foreign = re.sub(r" \[→\]\(https://relay\.example\.com/[^)]*\)$", "", text)
            assert not re.search(r"[\[\]<>`|\\~]|(?<!\*)\*(?!\*)|://|\{\{|&\w", foreign)
        assert len(received.body) <= LARGEST


@pytest.fixture
def channel(internet):
    outbound = HttpClientFactory(allow_private=internet.allowed, read_timeout=5)
    channel = Channel("ops", TeamsSettings(kind="teams", url=URL), outbound)
    yield channel
    channel.close()


def test_a_success_card_has_heading_and_facts():
    body = render_message("import.succeeded")
    assert (body["type"], content(body)["type"]) == ("message", "AdaptiveCard")
    assert content(body)["version"] == "1.4"
    heading = content(body)["body"][0]
    assert (heading["type"], heading["style"]) == ("Container", "good")
    assert heading["items"][0]["text"] == "✅ Imported: orders"
    assert facts(body) == [
        ("Function", "orders"),
        ("Package", "default"),
        ("Target", "prod, cn-north-4"),
        ("Change", "new function"),
        ("Object", "exports/prod/orders.zip"),
        ("Version", "v7"),
        ("Archive", "1.4 MiB"),
        ("Code", "Python3.10, SHA-512 9b71d224bd62…"),
        ("Attempts", "2 (4.2 s)"),
        ("URN", "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest"),
    ]
    assert content(body)["fallbackText"] == "✅ Imported: orders"


def test_a_failure_card_has_code_problem_and_advice():
    body = render_message("import.failed")
    assert content(body)["body"][0]["style"] == "attention"
    lines = list(texts(body))
    assert lines[:5] == [
        "❌ Import failed: orders",
        "What happened",
        "The end of the archive is missing (archive.truncated)",
        "What to do next",
        "Upload it again.",
    ]


@pytest.mark.parametrize(
    ("sample", "style", "sign"),
    [
        (message("import.skipped"), "emphasis", "⏭️"),
        (target_message("down"), "attention", "🔴"),
        (target_message("up"), "good", "🟢"),
        (digest(), "attention", "🗂️"),
    ],
)
def test_the_colour_matches_the_sign(sample, style, sign):
    heading = content(render(build_card(sample.type, sample.body, "en")))["body"][0]
    assert heading["style"] == style
    assert heading["items"][0]["text"].startswith(sign)


def test_all_labels_are_in_chinese():
    for type_ in OUTCOMES:
        labels = [title for title, _ in facts(render_message(type_, "zh"))]
        assert [label for label in labels if label.isascii()] in ([], ["URN"])


def test_the_links_are_buttons():
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert content(render_message("import.failed"))["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open the delivery", "url": page},
        {"type": "Action.OpenUrl", "title": "Try again", "url": f"{page}#retrigger"},
    ]


def test_without_a_public_url_there_are_no_links_but_the_delivery_id():
    sample = message("import.failed")
    sample.body["links"] = {"delivery": None, "retrigger": None}
    body = render(build_card(sample.type, sample.body, "en"))
    assert content(body)["actions"] == []
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in "".join(strings(body))


def test_a_digest_lists_deliveries_with_links():
    body = render(build_card("digest", digest().body, "en"))
    lines = list(texts(body))
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    line = f"❌ **orders** Import failed: The end of the archive is missing [→]({page})"
    assert lines.count(line) == 3
    assert "and 18 more" in lines
    [button] = content(body)["actions"]
    assert button["url"] == "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg"


def test_parentheses_in_an_address_are_encoded():
    sample = digest(count=1)
    sample.body["deliveries"][0]["links"]["delivery"] = "https://relay.example.com/(a) b"
    lines = list(texts(render(build_card(sample.type, sample.body, "en"))))
    assert any(text.endswith("[→](https://relay.example.com/%28a%29%20b)") for text in lines)


def test_text_that_looks_like_a_mention_is_escaped():
    text = "<at>everyone</at> @channel [x](https://evil.example)"
    outcome = Failed(Problem("x.y", Localized(text, text), Localized("", "")))
    body = render_message("import.failed", outcome=outcome, key="<at>a</at>.zip")
    assert "entities" not in json.dumps(body)
    assert "‹at›everyone‹/at› @\u2060channel ［x］(https:\u2060//evil.example) (x.y)" in texts(body)
    assert ("Object", "exports/‹at›a‹/at›.zip") in facts(body)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cards | full_cards)
def test_every_card_fits_the_limit_of_teams(card):
    body = render(card)
    assert len(encode(body)) <= LARGEST
    assert content(body)["body"][0]["items"][0]["text"].startswith(card.sign)
    if card.problem:
        assert card.problem.label in texts(body)


def test_a_digest_that_is_too_long_loses_only_the_last_lines():
    sample = digest()
    for delivery in sample.body["deliveries"]:
        delivery["func_name"] = "😀" * 1000
        delivery["error"] = {"message": {"en": "😀" * 900, "zh": "😀" * 900}}
    lines = list(texts(render(build_card(sample.type, sample.body, "en"))))
    assert lines.count("…") == 1
    assert "and 18 more" not in lines
    assert sum("[→]" in text for text in lines) >= 3


@pytest.mark.parametrize(("status", "body"), [(202, b""), (202, b"null"), (200, b"1")])
def test_success_responses_are_accepted(channel, internet, status, body):
    internet.serve(HOST, lambda request: HttpReply(status, body))
    assert channel.post(message("import.failed")).answer.startswith(str(status))
    [request] = internet.requests
    assert request.path.endswith("&sig=s3cretS1gnatureXYZ-_")
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(request.body)["type"] == "message"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, problem("TriggerInputSchemaMismatch"), "teams.refused"),
        (400, "Bad payload received by generic incoming webhook.", "teams.refused"),
        (400, problem("WorkflowTriggerIsNotEnabled"), "teams.turned_off"),
        (401, problem("DirectApiAuthorizationRequired"), "teams.not_allowed"),
        (401, problem("AuthorizationFailed"), "teams.wrong_signature"),
        (401, "", "teams.not_allowed"),
        (403, "<html>Forbidden</html>", "teams.refused"),
        (404, problem("WorkflowNotFound"), "teams.gone"),
        (404, "", "teams.gone"),
        (410, "", "teams.gone"),
        (413, "Request Entity Too Large", "teams.too_large"),
        (200, f"{DELIVERY_FAILED} HTTP error 400 with ContextId tcid=0", "teams.refused"),
        (200, f"{DELIVERY_FAILED} HTTP error 404 with ContextId tcid=0", "teams.gone"),
        (200, f"{DELIVERY_FAILED} HTTP error 413 with ContextId tcid=0", "teams.too_large"),
    ],
)
def test_known_errors_are_permanent(channel, internet, status, body, code):
    internet.serve(HOST, lambda request: HttpReply(status, body.encode()))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == code
    assert caught.value.answer.startswith(str(status))
    assert "s3cretS1gnature" not in f"{caught.value} {caught.value.answer}"


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (429, "", Throttled, "channel.busy"),
        (200, f"{DELIVERY_FAILED} HTTP error 429 with ContextId tcid=0", Throttled, "teams.busy"),
        (200, f"{DELIVERY_FAILED} HTTP error 500 with", TemporaryFailure, "teams.trouble"),
        (200, f"{DELIVERY_FAILED} HTTP error 412 with", TemporaryFailure, "teams.trouble"),
        (
            200,
            "Webhook message delivery failed with error: Error contacting Microsoft Teams endpoint",
            TemporaryFailure,
            "teams.not_ok",
        ),
        (200, "System.Net.Http.HttpRequestException: Error", TemporaryFailure, "teams.not_ok"),
        (200, "", TemporaryFailure, "teams.not_ok"),
        (200, "<html>Sign in</html>", TemporaryFailure, "teams.not_ok"),
        (204, "", TemporaryFailure, "teams.not_ok"),
        (412, "", TemporaryFailure, "teams.trouble"),
        (502, problem("NoResponse"), TemporaryFailure, "channel.down"),
        (504, "", TemporaryFailure, "channel.down"),
    ],
)
def test_other_errors_are_temporary(channel, internet, status, body, error, code):
    response = HttpReply(status, body.encode() if status != 204 else b"", {"Retry-After": "17"})
    internet.serve(HOST, lambda request: response)
    with pytest.raises(error) as caught:
        channel.post(message("import.failed"))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert caught.value.code == code
    if error is Throttled:
        assert caught.value.retry_after == timedelta(seconds=17)


def test_an_old_connector_is_supported(internet):
    internet.serve("acme.webhook.office.com", lambda request: b"1")
    outbound = HttpClientFactory(allow_private=internet.allowed)
    channel = Channel("ops", TeamsSettings(kind="teams", url=CONNECTOR), outbound)
    posted = channel.post(message("import.succeeded"))
    assert (posted.answer, posted.thread) == ("200 1", None)
    assert channel.ready() is None
    channel.close()


def test_every_error_is_explained_in_english_and_chinese():
    errors = {*BY_CODE.values(), *BY_STATUS.values()}
    assert len(errors) == 6
    for error in errors:
        texts = (error.message, error.hint)
        assert not [text for text in texts if text.zh.isascii() or not text.en.isascii()]


@pytest.mark.parametrize(
    ("url", "warning"),
    [
        (URL, None),
        ("https://default0.55.environment.api.powerplatform.com:443/powerautomate/x?sig=y", None),
        (CONNECTOR, "its url is that of an Office 365 connector, which Microsoft retires"),
        ("https://hooks.slack.com/services/T1/B1/x", "its url is not that of a Teams webhook"),
        ("https://logic.azure.com.evil.example/x", "its url is not that of a Teams webhook"),
    ],
)
def test_an_unusual_host_causes_a_warning(url, warning):
    advice = [text for text, _ in TeamsSettings(kind="teams", url=url).advise()]
    assert advice == ([warning] if warning else [])


def test_an_invalid_url_is_refused_and_not_shown():
    with pytest.raises(ValidationError) as caught:
        TeamsSettings(kind="teams", url="prod-11.logic.azure.com/s3cret")
    assert "s3cret" not in str(caught.value)
