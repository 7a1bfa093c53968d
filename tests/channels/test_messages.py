"""Messages about outcomes: which channels get them, and what the body contains."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from relay.channels.messages import REASONS, import_messages, localize, message_body, page_links
from relay.config.load import ChannelSettings, Settings
from relay.model import (
    Claim,
    Delivery,
    Event,
    Failed,
    Kind,
    Localized,
    ObjectRef,
    Problem,
    Retry,
    Skipped,
    State,
    Succeeded,
    Trigger,
)

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NOW = CREATED + timedelta(seconds=90)
PROBLEM = Problem("x.y", Localized("It broke", "坏了"), Localized("Mend it", "修好它"))


def build_claim(*, channels=("all",), key="prod/orders.zip", **changes):
    ref = ObjectRef("exports", key, version="v1", size=1234)
    delivery = Delivery(
        id="01kq",
        kind=Kind.IMPORT,
        state=State.RUNNING,
        source="exports",
        route="exports#1",
        bucket="exports",
        key=key,
        version="v1",
        destination="prod",
        created=CREATED,
        attempts=3,
        channels=channels,
        options={"func_name": "{function}", "package": "default"},
    )
    delivery = replace(delivery, **changes)
    return Claim(delivery, Event(ref, "v1", "created"), "worker", fence=1, attempt=3)


def settings(public_url=None, **on):
    channels = {name: ChannelSettings(kind="slack", on=results) for name, results in on.items()}
    channels.setdefault("all", ChannelSettings(kind="slack"))
    return Settings(public_url=public_url, channels=channels)


def body(outcome, claim=None):
    return message_body(claim or build_claim(), outcome, 1.5, None)


@pytest.mark.parametrize(
    ("outcome", "type_"),
    [
        (Succeeded({}), "import.succeeded"),
        (Failed(PROBLEM), "import.failed"),
        (Skipped("gone"), "import.skipped"),
    ],
)
def test_each_result_has_a_message_type(outcome, type_):
    (message,) = import_messages(settings(), build_claim(), outcome, NOW)
    assert (message.channel, message.type) == ("all", type_)


def test_a_retry_causes_no_message():
    assert import_messages(settings(), build_claim(), Retry(PROBLEM), NOW) == []


def test_the_outcome_of_a_message_causes_no_message():
    assert import_messages(settings(), build_claim(kind=Kind.MESSAGE), Failed(PROBLEM), NOW) == []


def test_a_channel_gets_only_the_results_in_its_settings():
    configured = settings(alarms=("failed",), joy=("succeeded", "skipped"))
    claim = build_claim(channels=("alarms", "joy", "all"))
    names = {
        type(outcome).__name__: [
            message.channel
            for message in import_messages(configured, claim, outcome, NOW)
            if not message.only_if_recovered
        ]
        for outcome in (Succeeded({}), Failed(PROBLEM), Skipped("gone"))
    }
    assert names == {
        "Succeeded": ["joy", "all"],
        "Failed": ["alarms", "all"],
        "Skipped": ["joy", "all"],
    }


def test_a_channel_that_wants_failures_gets_a_success_only_as_a_recovery():
    configured = settings(alarms=("failed",))
    claim = build_claim(channels=("alarms",))
    (message,) = import_messages(configured, claim, Succeeded({}), NOW)
    assert (message.only_if_recovered, message.body["recovered"]) == (True, None)
    assert import_messages(configured, claim, Skipped("gone"), NOW) == []


def test_a_channel_named_twice_gets_one_message():
    claim = build_claim(channels=("all", "all"))
    assert len(import_messages(settings(), claim, Failed(PROBLEM), NOW)) == 1


def test_a_channel_that_is_not_configured_any_more_gets_a_message():
    (message,) = import_messages(
        settings(), build_claim(channels=("removed",)), Failed(PROBLEM), NOW
    )
    assert message.channel == "removed"


def test_the_default_duration_is_the_time_since_the_delivery_was_created():
    (message,) = import_messages(settings(), build_claim(), Failed(PROBLEM), NOW)
    (measured,) = import_messages(settings(), build_claim(), Failed(PROBLEM), NOW, 0.25)
    assert message.body["duration_seconds"] == 90.0
    assert measured.body["duration_seconds"] == 0.25


def test_a_clock_set_back_causes_no_negative_duration():
    (message,) = import_messages(
        settings(), build_claim(), Failed(PROBLEM), CREATED - timedelta(days=1)
    )
    assert message.body["duration_seconds"] == 0.0


def test_the_body_has_every_documented_key():
    keys = "delivery source bucket key version target func_name package func_urn attempts"
    for outcome in (Succeeded({}), Failed(PROBLEM), Skipped("gone")):
        assert set(keys.split()) | {"error", "links"} <= set(body(outcome))


def test_a_success_has_the_names_that_the_target_reported():
    data = body(Succeeded({"func_name": "orders-20260304", "package": "p", "func_urn": "urn:x"}))
    assert (data["func_name"], data["package"]) == ("orders-20260304", "p")
    assert data["func_urn"] == "urn:x"
    assert data["error"] is None
    assert data["reason"] is None


def test_a_failure_has_sentences_in_both_languages():
    data = body(Failed(PROBLEM))
    assert data["error"] == PROBLEM.to_json()
    assert data["func_urn"] is None


def test_a_failure_names_the_function_if_the_route_determines_it():
    options = {"func_name": "{stem}-prod", "package": "team"}
    data = body(Failed(PROBLEM), build_claim(options=options))
    assert (data["func_name"], data["package"]) == ("orders-prod", "team")


def test_a_failure_names_no_function_if_that_needs_the_archive():
    data = body(Failed(PROBLEM))
    assert (data["func_name"], data["package"]) == (None, "default")
    assert body(Failed(PROBLEM), build_claim(options={"package": "{1}"}))["package"] is None


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_to_skip_is_explained_in_both_languages(reason):
    data = body(Skipped(reason))["reason"]
    assert data["code"] == reason
    assert data["message"]["en"] != reason
    assert not data["message"]["zh"].isascii()


def test_an_explanation_in_the_outcome_takes_precedence():
    words = {"en": "Replaced at noon", "zh": "中午被替换"}
    assert body(Skipped("superseded", {"words": words}))["reason"]["message"] == words


def test_a_reason_without_explanation_is_shown_as_it_is():
    assert body(Skipped("paused"))["reason"]["message"] == {"en": "paused", "zh": "paused"}


def test_long_sentences_are_shortened():
    long = Localized("x" * 100_000, "长" * 100_000)
    error = body(Failed(Problem("x.y", long, long)))["error"]
    for sentence in (error["message"], error["hint"]):
        assert all(len(text) == 2000 and text.endswith("…") for text in sentence.values())


@pytest.mark.parametrize("kind", [Succeeded, lambda result: Skipped("unchanged", result)])
def test_the_body_has_the_warnings_in_both_languages(kind):
    stored = [
        {"code": "a.b", "message": {"en": "Disabled", "zh": "已禁用"}, "where": "status"},
        {"code": "c.d", "message": "x" * 9999, "where": ""},
    ]
    first, second = body(kind({"warnings": stored}))["warnings"]
    assert first == stored[0]
    assert (second["where"], len(second["message"]["zh"])) == (None, 2000)
    assert localize({"warnings": [first]}, "zh")["warnings"][0]["message"] == "已禁用"
    assert body(kind({}))["warnings"] == []


def test_the_trigger_of_the_delivery_is_in_the_body():
    assert body(Failed(PROBLEM))["trigger"] == "automatic"
    assert body(Failed(PROBLEM), build_claim(trigger=Trigger.MANUAL))["trigger"] == "manual"


def test_links_lead_to_the_page_of_the_delivery():
    page = "https://relay.example.com/base/deliveries/01kq"
    links = {"delivery": page, "retrigger": f"{page}#retrigger"}
    assert page_links("https://relay.example.com/base/", "01kq") == links
    assert page_links(None, "01kq") == {"delivery": None, "retrigger": None}
    (message,) = import_messages(
        settings("https://relay.example.com/base"), build_claim(), Failed(PROBLEM), NOW
    )
    assert message.body["links"] == links


def mappings(value):
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from mappings(item)


@pytest.mark.parametrize("outcome", [Failed(PROBLEM), Skipped("gone"), Succeeded({})])
def test_a_localized_body_has_strings_as_sentences(outcome):
    localized = localize(body(outcome), "zh")
    assert [mapping for mapping in mappings(localized) if "zh" in mapping] == []
    assert set(localized) == set(body(outcome))
    if isinstance(outcome, Failed):
        assert localized["error"] == {"code": "x.y", "message": "坏了", "hint": "修好它"}


@hypothesis_settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_the_body_is_valid_json_with_any_key(key):
    text = json.dumps(body(Failed(PROBLEM), build_claim(key=key)), ensure_ascii=False)
    assert json.loads(text.encode("utf-8"))["bucket"] == "exports"
