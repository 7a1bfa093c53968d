"""Teams: what a card says, that foreign text only stands there, and what the answers mean."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from relay.channels.card import build_card
from relay.channels.teams.card import LARGEST, encode, render
from relay.channels.teams.channel import Channel, TeamsSettings
from relay.channels.teams.errors import BY_CODE, BY_STATUS
from relay.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import OUTCOMES, ChannelSuite, message, strings, target_message
from relay.testing.fake_server import Reply
from relay.testing.messages import digest
from tests.channels.cards import cards, full_cards
from tests.fake_internet import Reply as Answer

HOST = "prod-11.westeurope.logic.azure.com"
URL = (
    f"https://{HOST}:443/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s3cretS1gnatureXYZ-_"
)
CONNECTOR = "https://acme.webhook.office.com/webhookb2/1@2/IncomingWebhook/s3cr3t/3"
DELIVERY_FAILED = "Webhook message delivery failed with error: Microsoft Teams endpoint returned"


def problem(code, words="words"):
    return json.dumps({"error": {"code": code, "message": words}})


def rendered(type_, language="en", **told):
    posted = message(type_, **told)
    return render(build_card(posted.type, posted.body, language))


def content(told):
    [attachment] = told["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def texts(told):
    """Every text that Teams reads as Markdown."""
    for element in content(told)["body"]:
        for one in element.get("items", [element]):
            if one["type"] == "FactSet":
                for fact in one["facts"]:
                    yield from fact.values()
            else:
                yield one["text"]


def facts(told):
    [found] = [one for one in content(told)["body"] if one["type"] == "FactSet"]
    return [(fact["title"], fact["value"]) for fact in found["facts"]]


class TestTeams(ChannelSuite):
    accepts = Reply(202, "")
    refuses = Reply(404, problem("WorkflowNotFound"))

    def make(self, url, language, outbound):
        return Channel("ops", TeamsSettings(kind="teams", url=url, language=language), outbound)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        told = received.json()
        assert content(told)["msteams"] == {"width": "Full"}
        for text in texts(told):
            ours = re.sub(r" \[→\]\(https://relay\.example\.com/[^)]*\)$", "", text)
            assert not re.search(r"[\[\]<>`|\\~]|(?<!\*)\*(?!\*)|://|\{\{|&\w", ours)
        assert len(received.body) <= LARGEST


@pytest.fixture
def channel(internet):
    outbound = HttpClientFactory(allow_private=internet.allowed, read_timeout=5)
    channel = Channel("ops", TeamsSettings(kind="teams", url=URL), outbound)
    yield channel
    channel.close()


def test_a_success_shows_at_a_glance_what_became_what():
    told = rendered("import.succeeded")
    assert (told["type"], content(told)["type"]) == ("message", "AdaptiveCard")
    assert content(told)["version"] == "1.4"
    heading = content(told)["body"][0]
    assert (heading["type"], heading["style"]) == ("Container", "good")
    assert heading["items"][0]["text"] == "✅ Imported: orders"
    assert facts(told) == [
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
    assert content(told)["fallbackText"] == "✅ Imported: orders"


def test_a_failure_shows_the_code_what_it_means_and_what_to_do():
    told = rendered("import.failed")
    assert content(told)["body"][0]["style"] == "attention"
    shown = list(texts(told))
    assert shown[:5] == [
        "❌ Import failed: orders",
        "What happened",
        "The end of the archive is missing (archive.truncated)",
        "What to do next",
        "Upload it again.",
    ]


@pytest.mark.parametrize(
    ("told", "style", "sign"),
    [
        (message("import.skipped"), "emphasis", "⏭️"),
        (target_message("down"), "attention", "🔴"),
        (target_message("up"), "good", "🟢"),
        (digest(), "attention", "🗂️"),
    ],
)
def test_the_colour_says_what_sign_and_words_say(told, style, sign):
    heading = content(render(build_card(told.type, told.body, "en")))["body"][0]
    assert heading["style"] == style
    assert heading["items"][0]["text"].startswith(sign)


def test_in_chinese_no_label_of_ours_is_left_in_english():
    for type_ in OUTCOMES:
        labels = [title for title, _ in facts(rendered(type_, "zh"))]
        assert [label for label in labels if label.isascii()] in ([], ["URN"])


def test_the_links_are_buttons():
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert content(rendered("import.failed"))["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open the delivery", "url": page},
        {"type": "Action.OpenUrl", "title": "Try again", "url": f"{page}#retrigger"},
    ]


def test_without_a_public_url_there_are_no_links_and_still_the_deliverys_id():
    posted = message("import.failed")
    posted.body["links"] = {"delivery": None, "retrigger": None}
    told = render(build_card(posted.type, posted.body, "en"))
    assert content(told)["actions"] == []
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in "".join(strings(told))


def test_a_digest_has_a_line_for_each_with_its_page():
    told = render(build_card("digest", digest().body, "en"))
    shown = list(texts(told))
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    line = f"❌ **orders** Import failed: The end of the archive is missing [→]({page})"
    assert shown.count(line) == 3
    assert "and 18 more" in shown
    [button] = content(told)["actions"]
    assert button["url"] == "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg"


def test_a_page_cannot_end_its_link():
    told = digest(count=1)
    told.body["deliveries"][0]["links"]["delivery"] = "https://relay.example.com/(a) b"
    shown = list(texts(render(build_card(told.type, told.body, "en"))))
    assert any(text.endswith("[→](https://relay.example.com/%28a%29%20b)") for text in shown)


def test_what_looks_like_a_mention_is_none():
    words = "<at>everyone</at> @channel [x](https://evil.example)"
    outcome = Failed(Problem("x.y", Localized(words, words), Localized("", "")))
    told = rendered("import.failed", outcome=outcome, key="<at>a</at>.zip")
    assert "entities" not in json.dumps(told)
    assert "‹at›everyone‹/at› @\u2060channel ［x］(https:\u2060//evil.example) (x.y)" in texts(told)
    assert ("Object", "exports/‹at›a‹/at›.zip") in facts(told)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cards | full_cards)
def test_no_card_is_more_than_teams_takes(shown):
    told = render(shown)
    assert len(encode(told)) <= LARGEST
    assert content(told)["body"][0]["items"][0]["text"].startswith(shown.sign)
    if shown.problem:
        assert shown.problem.label in texts(told)


def test_a_digest_of_the_worst_names_loses_its_last_lines_only():
    told = digest()
    for one in told.body["deliveries"]:
        one["func_name"] = "😀" * 1000
        one["error"] = {"message": {"en": "😀" * 900, "zh": "😀" * 900}}
    shown = list(texts(render(build_card(told.type, told.body, "en"))))
    assert shown.count("…") == 1
    assert "and 18 more" not in shown
    assert sum("[→]" in text for text in shown) >= 3


@pytest.mark.parametrize(("status", "body"), [(202, b""), (202, b"null"), (200, b"1")])
def test_what_teams_takes_is_a_success(channel, internet, status, body):
    internet.serve(HOST, lambda request: Answer(status, body))
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
def test_refusals_are_final_and_say_what_to_do(channel, internet, status, body, code):
    internet.serve(HOST, lambda request: Answer(status, body.encode()))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == code
    assert caught.value.answer.startswith(str(status))
    assert "s3cretS1gnature" not in f"{caught.value} {caught.value.answer}"


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
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
def test_the_rest_is_waited_for(channel, internet, status, body, kind, code):
    answer = Answer(status, body.encode() if status != 204 else b"", {"Retry-After": "17"})
    internet.serve(HOST, lambda request: answer)
    with pytest.raises(kind) as caught:
        channel.post(message("import.failed"))
    assert not isinstance(caught.value, OutcomeUnknown)
    assert caught.value.code == code
    if kind is Throttled:
        assert caught.value.retry_after == timedelta(seconds=17)


def test_a_connector_is_posted_to_as_well(internet):
    internet.serve("acme.webhook.office.com", lambda request: b"1")
    outbound = HttpClientFactory(allow_private=internet.allowed)
    channel = Channel("ops", TeamsSettings(kind="teams", url=CONNECTOR), outbound)
    posted = channel.post(message("import.succeeded"))
    assert (posted.answer, posted.thread) == ("200 1", None)
    assert channel.ready() is None
    channel.close()


def test_the_words_of_refusals_are_in_chinese_too():
    errors = {*BY_CODE.values(), *BY_STATUS.values()}
    assert len(errors) == 6
    for error in errors:
        texts = (error.message, error.hint)
        assert not [text for text in texts if text.zh.isascii() or not text.en.isascii()]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (URL, None),
        ("https://default0.55.environment.api.powerplatform.com:443/powerautomate/x?sig=y", None),
        (CONNECTOR, "its url is that of an Office 365 connector, which Microsoft retires"),
        ("https://hooks.slack.com/services/T1/B1/x", "its url is not that of a Teams webhook"),
        ("https://logic.azure.com.evil.example/x", "its url is not that of a Teams webhook"),
    ],
)
def test_a_host_that_looks_wrong_is_advice_not_an_error(url, words):
    advice = [said for said, _ in TeamsSettings(kind="teams", url=url).advise()]
    assert advice == ([words] if words else [])


def test_the_url_is_refused_without_being_shown():
    with pytest.raises(ValidationError) as caught:
        TeamsSettings(kind="teams", url="prod-11.logic.azure.com/s3cret")
    assert "s3cret" not in str(caught.value)
