"""Cards: the content in one language, safe text, and shortening to the limit of a service."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.channels.card import LONGEST_VALUE, build_card, plain, shrink_to_fit
from relay.channels.messages import warnings_of
from relay.channels.samples import digest, message


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers(3, 300))
def test_plain_text_is_a_single_line_without_invisible_characters(text, longest):
    shown = plain(text, longest)
    assert len(shown) <= longest
    assert shown == shown.strip()
    assert not any(character.isspace() and character != " " for character in shown)
    assert not set(shown) & set(map(chr, [*range(32), 127, *range(0x202A, 0x202F), 0x2066, 0x200F]))


def test_a_long_key_keeps_the_file_name():
    shown = plain("a/" * 10_000 + "orders.zip")
    assert len(shown) == LONGEST_VALUE
    assert shown.startswith("a/a/")
    assert shown.endswith("/orders.zip")
    assert "…" in shown


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("how", ["created", "updated", "unchanged", "renamed", "already there"])
def test_a_card_explains_what_changed(how, language):
    card = build_card("import.succeeded", {"how": how}, language)
    (change,) = [fact for fact in card.facts if fact.label in ("Change", "变更")]
    assert change.value != how
    assert change.value.isascii() == (language == "en")


def test_a_card_of_an_update_names_the_settings():
    body = {
        "how": "updated",
        "differences": [
            {"field": "Timeout", "current": 3, "wanted": 30},
            {"field": "Environment.TOKEN", "current": "***", "wanted": "***"},
        ],
        "not_applied": ["Triggers"],
        "unknown_fields": ["future"],
    }
    facts = {fact.label: fact.value for fact in build_card("import.succeeded", body, "en").facts}
    assert facts["Changed settings"] == "Timeout 3 → 30, Environment.TOKEN (changed)"
    assert (facts["Not applied"], facts["May have been reset"]) == ("Triggers", "future")
    facts = {fact.label: fact.value for fact in build_card("import.succeeded", body, "zh").facts}
    assert facts["已更改的配置"] == "Timeout 3 → 30，Environment.TOKEN（已修改）"


@pytest.mark.parametrize(
    ("language", "label", "text"),
    [("en", "Warnings", "Disabled; Plain text"), ("zh", "警告", "已禁用；Plain text")],
)
def test_a_card_has_the_warnings(language, label, text):
    both = {"code": "a.b", "message": {"en": "Disabled.", "zh": "已禁用。"}}
    stored = {"warnings": [both, {"code": "c.d", "message": "Plain text"}]}
    body = {"warnings": warnings_of(stored)}
    facts = {
        fact.label: fact.value for fact in build_card("import.succeeded", body, language).facts
    }
    assert facts[label] == text


@pytest.mark.parametrize(("key", "name"), [("prod/orders.zip", "orders.zip"), ("a/b/", "b")])
def test_a_card_names_the_file_if_the_function_is_not_known(key, name):
    body = message("import.failed", key=key).body | {"func_name": None}
    assert build_card("import.failed", body, "en").name == name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_body_of_an_older_version_has_a_card(language):
    card = build_card("import.failed", {"delivery": "01kq"}, language)
    assert card.problem is None
    assert card.summary.startswith("❌")
    assert "01kq" in card.footer
    assert build_card("target.sideways", {}, language).title == "target.sideways"


@pytest.mark.parametrize(
    ("results", "tone"),
    [
        ({"failed": 1, "succeeded": 99}, "bad"),
        ({"skipped": 9, "succeeded": 1}, "good"),
        ({"skipped": 9, "failed": 0}, "neutral"),
    ],
)
def test_a_digest_has_the_tone_of_the_worst_result(results, tone):
    assert build_card("digest", {"count": 10, "results": results}, "en").tone == tone


def test_a_combined_message_says_so_in_the_footer():
    assert build_card("digest", digest().body, "en").footer == (
        "Combined: many messages in a short time"
    )
    assert build_card("digest", digest().body, "zh").footer == "短时间内消息较多，已合并为一条"


def test_lines_are_dropped_before_facts_and_no_wrong_number_is_shown():
    card = build_card("digest", digest().body, "en")
    assert card.more == "and 18 more"
    shortened = shrink_to_fit(card, lambda card: len(card.lines) <= 3)
    assert shortened.lines == card.lines[:3]
    assert shortened.facts == card.facts
    assert shortened.more == "…"


def test_the_last_facts_are_dropped_first_and_the_problem_stays():
    card = build_card("import.failed", message("import.failed").body, "en")
    shortened = shrink_to_fit(card, lambda card: len(card.facts) <= 2)
    assert shortened.facts == card.facts[:2]
    assert (shortened.problem, shortened.advice) == (card.problem, card.advice)


def test_a_card_that_fits_is_unchanged_and_shrinking_always_ends():
    card = build_card("digest", digest().body, "en")
    assert shrink_to_fit(card, lambda _: True) is card
    assert shrink_to_fit(card, lambda _: False).facts == ()
