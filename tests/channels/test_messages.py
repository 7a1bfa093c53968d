"""Report and card: who is told, what a message's body holds, and what a person reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from relay.channels.card import LONGEST_VALUE, build_card, plain
from relay.channels.messages import REASONS, import_messages, localize, message_body, page_links
from relay.config.load import ChannelSettings, Settings
from relay.config.text import format_size
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

MADE = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NOW = MADE + timedelta(seconds=90)
PROBLEM = Problem("x.y", Localized("It broke", "坏了"), Localized("Mend it", "修好它"))


def claim_of(*, channels=("all",), key="prod/orders.zip", **changes):
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
        created=MADE,
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
    return message_body(claim or claim_of(), outcome, 1.5, None)


@pytest.mark.parametrize(
    ("outcome", "type_"),
    [
        (Succeeded({}), "import.succeeded"),
        (Failed(PROBLEM), "import.failed"),
        (Skipped("gone"), "import.skipped"),
    ],
)
def test_each_result_is_told_under_its_type(outcome, type_):
    (told,) = import_messages(settings(), claim_of(), outcome, NOW)
    assert (told.channel, told.type) == ("all", type_)


def test_an_attempt_that_is_tried_again_tells_nobody():
    assert import_messages(settings(), claim_of(), Retry(PROBLEM), NOW) == []


def test_a_message_that_was_posted_makes_no_message_of_its_own():
    assert import_messages(settings(), claim_of(kind=Kind.MESSAGE), Failed(PROBLEM), NOW) == []


def test_a_channel_hears_only_the_results_that_it_wants():
    rules = settings(alarms=("failed",), joy=("succeeded", "skipped"))
    claim = claim_of(channels=("alarms", "joy", "all"))
    told = {
        type(outcome).__name__: [one.channel for one in import_messages(rules, claim, outcome, NOW)]
        for outcome in (Succeeded({}), Failed(PROBLEM), Skipped("gone"))
    }
    assert told == {
        "Succeeded": ["joy", "all"],
        "Failed": ["alarms", "all"],
        "Skipped": ["joy", "all"],
    }


def test_a_channel_named_twice_hears_it_once():
    assert (
        len(import_messages(settings(), claim_of(channels=("all", "all")), Failed(PROBLEM), NOW))
        == 1
    )


def test_a_channel_that_left_the_configuration_keeps_its_message():
    (told,) = import_messages(settings(), claim_of(channels=("removed",)), Failed(PROBLEM), NOW)
    assert told.channel == "removed"


def test_without_a_measure_the_duration_is_the_time_since_the_delivery_was_made():
    (told,) = import_messages(settings(), claim_of(), Failed(PROBLEM), NOW)
    (measured,) = import_messages(settings(), claim_of(), Failed(PROBLEM), NOW, 0.25)
    assert told.body["duration_seconds"] == 90.0
    assert measured.body["duration_seconds"] == 0.25


def test_a_clock_that_went_backwards_gives_no_negative_duration():
    (told,) = import_messages(settings(), claim_of(), Failed(PROBLEM), MADE - timedelta(days=1))
    assert told.body["duration_seconds"] == 0.0


def test_the_body_has_every_key_that_the_interface_promises():
    promised = "delivery source bucket key version target func_name package func_urn attempts"
    for outcome in (Succeeded({}), Failed(PROBLEM), Skipped("gone")):
        assert set(promised.split()) | {"error", "links"} <= set(body(outcome))


def test_a_success_says_what_the_target_answered():
    told = body(Succeeded({"func_name": "orders-20260304", "package": "p", "func_urn": "urn:x"}))
    assert (told["func_name"], told["package"]) == ("orders-20260304", "p")
    assert told["func_urn"] == "urn:x"
    assert told["error"] is None
    assert told["reason"] is None


def test_a_failure_holds_its_words_in_both_languages():
    told = body(Failed(PROBLEM))
    assert told["error"] == PROBLEM.to_json()
    assert told["func_urn"] is None


def test_a_failure_names_the_function_when_the_route_alone_decides_it():
    options = {"func_name": "{stem}-prod", "package": "team"}
    told = body(Failed(PROBLEM), claim_of(options=options))
    assert (told["func_name"], told["package"]) == ("orders-prod", "team")


def test_a_failure_names_no_function_that_only_the_archive_could_have_named():
    told = body(Failed(PROBLEM))
    assert (told["func_name"], told["package"]) == (None, "default")
    assert body(Failed(PROBLEM), claim_of(options={"package": "{1}"}))["package"] is None


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_to_skip_has_words_in_both_languages(reason):
    told = body(Skipped(reason))["reason"]
    assert told["code"] == reason
    assert told["message"]["en"] != reason
    assert not told["message"]["zh"].isascii()


def test_the_words_of_the_place_that_skipped_come_first():
    words = {"en": "Replaced at noon", "zh": "中午被替换"}
    assert body(Skipped("superseded", {"words": words}))["reason"]["message"] == words


def test_a_reason_that_has_no_words_is_its_own():
    assert body(Skipped("paused"))["reason"]["message"] == {"en": "paused", "zh": "paused"}


def test_endless_words_are_cut():
    long = Localized("x" * 100_000, "长" * 100_000)
    told = body(Failed(Problem("x.y", long, long)))["error"]
    for words in (told["message"], told["hint"]):
        assert all(len(one) == 2000 and one.endswith("…") for one in words.values())


def test_a_retrigger_by_hand_is_told_as_such():
    assert body(Failed(PROBLEM))["trigger"] == "automatic"
    assert body(Failed(PROBLEM), claim_of(trigger=Trigger.MANUAL))["trigger"] == "manual"


def test_links_lead_to_the_page_of_the_delivery():
    page = "https://relay.example.com/base/deliveries/01kq"
    told = {"delivery": page, "retrigger": f"{page}#retrigger"}
    assert page_links("https://relay.example.com/base/", "01kq") == told
    assert page_links(None, "01kq") == {"delivery": None, "retrigger": None}
    (message,) = import_messages(
        settings("https://relay.example.com/base"), claim_of(), Failed(PROBLEM), NOW
    )
    assert message.body["links"] == told


def mappings(value):
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from mappings(one)


@pytest.mark.parametrize("outcome", [Failed(PROBLEM), Skipped("gone"), Succeeded({})])
def test_in_one_language_every_sentence_is_plain_text(outcome):
    told = localize(body(outcome), "zh")
    assert [one for one in mappings(told) if "zh" in one] == []
    assert set(told) == set(body(outcome))
    if isinstance(outcome, Failed):
        assert told["error"] == {"code": "x.y", "message": "坏了", "hint": "修好它"}


@rules(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_whatever_a_key_holds_the_body_is_json_in_utf_8(key):
    told = json.dumps(body(Failed(PROBLEM), claim_of(key=key)), ensure_ascii=False)
    assert json.loads(told.encode("utf-8"))["bucket"] == "exports"


@rules(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers(3, 300))
def test_plain_text_is_one_short_line_without_invisible_characters(text, longest):
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert shown == shown.strip()
    assert not any(one.isspace() and one != " " for one in shown)
    assert not set(shown) & set(map(chr, [*range(32), 127, *range(0x202A, 0x202F), 0x2066, 0x200F]))


def test_a_long_key_is_cut_in_the_middle_so_that_its_file_name_stays():
    shown = plain("a/" * 10_000 + "orders.zip")
    assert len(shown) == LONGEST_VALUE
    assert shown.startswith("a/a/")
    assert shown.endswith("/orders.zip")
    assert "…" in shown


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1_500_000, "1.4 MiB"),
        (300 * 1024**2, "300 MiB"),
        (5 * 1024**4, "5.0 TiB"),
    ],
)
def test_sizes_are_told_in_units_that_people_read(size, words):
    assert format_size(size) == words


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("how", ["created", "updated", "renamed", "already there"])
def test_a_card_says_what_changed(how, language):
    shown = build_card("import.succeeded", body(Succeeded({"how": how})), language)
    (change,) = [fact for fact in shown.facts if fact.label in ("Change", "变更")]
    assert change.value != how
    assert change.value.isascii() == (language == "en")


def test_a_card_names_the_file_when_the_function_is_not_known():
    assert build_card("import.failed", body(Failed(PROBLEM)), "en").name == "orders.zip"
    assert (
        build_card("import.failed", body(Failed(PROBLEM), claim_of(key="a/b/")), "en").name == "b"
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_card_of_a_body_that_an_older_version_stored_is_still_shown(language):
    shown = build_card("import.failed", {"delivery": "01kq"}, language)
    assert shown.problem is None
    assert shown.summary.startswith("❌")
    assert "01kq" in shown.footer
    assert build_card("target.sideways", {}, language).title == "target.sideways"
