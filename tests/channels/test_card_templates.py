"""A team's own words: what they may say, what they may not do, and what happens when they fail."""

from __future__ import annotations

import pytest

from relay.channels.card import LONGEST_SENTENCE, build_card
from relay.channels.card_templates import apply_templates
from relay.config.load import load
from relay.config.templates import WordsSettings
from relay.errors import ConfigErrors
from relay.plugins import settings_class
from relay.testing.messages import HOSTILE, OUTCOMES, PROBLEM, digest, message, target_message

EVERY = [*map(message, OUTCOMES), target_message("down"), target_message("up"), digest()]


def said(told, language="en", **words):
    shown = build_card(told.type, told.body, language)
    return apply_templates(shown, WordsSettings(**words), told.type, told.body, language)


def test_without_words_of_its_own_a_card_stays_as_it_is():
    told = message("import.failed")
    assert said(told) == build_card(told.type, told.body, "en")


def test_every_part_can_be_said_otherwise():
    shown = said(
        message("import.failed"),
        title="{{ result }}!",
        name="{{ package }}/{{ func_name }}",
        problem="{{ error.code }}",
        advice="{{ advice }} Call 110.",
        footer="{{ source }}",
    )
    assert (shown.title, shown.name, shown.footer) == ("failed!", "default/orders", "exports")
    assert shown.problem.value == PROBLEM.code
    assert shown.advice.value == f"{PROBLEM.hint.en} Call 110."


def test_the_variables_are_in_the_channels_language():
    shown = said(message("import.failed"), "zh", title="{{ error.message }}", advice="{{ advice }}")
    assert shown.title == PROBLEM.message.zh
    assert shown.advice.value == PROBLEM.hint.zh
    assert shown.advice.label == "下一步怎么做"


def test_empty_text_leaves_a_sentence_out_and_text_puts_one_in():
    assert said(message("import.failed"), problem="", advice="{# nothing #}").problem is None
    assert said(message("import.succeeded"), advice="Celebrate.").advice.value == "Celebrate."


def test_title_and_name_cannot_be_emptied():
    shown = said(message("import.failed"), title="{{ '' }}", name="{{ '' }}")
    assert (shown.title, shown.name) == ("Import failed", "orders")


@pytest.mark.parametrize(
    ("results", "tone"),
    [
        ({"failed": 1, "succeeded": 99}, "bad"),
        ({"skipped": 9, "succeeded": 1}, "good"),
        ({"skipped": 9, "failed": 0}, "neutral"),
    ],
)
def test_a_digest_looks_as_bad_as_the_worst_in_it(results, tone):
    assert build_card("digest", {"count": 10, "results": results}, "en").tone == tone


@pytest.mark.parametrize("told", EVERY, ids=lambda told: told.type)
def test_each_documented_variable_is_there_for_each_type_of_message(told):
    names = "type result title name problem advice footer func_name error reason links count key"
    shown = said(told, title=" ".join(f"{{{{ {name} }}}}" for name in names.split()))
    assert "failed:" not in shown.footer


@pytest.mark.parametrize(
    "broken",
    [
        "{{ nosuch }}",
        "{{ error.nosuch.deeper }}",
        "{{ 1 / 0 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ links.clear() }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% include 'base.html' %}",
    ],
)
def test_a_template_that_fails_costs_nothing_but_itself_and_the_card_says_so(broken, caplog):
    told = message("import.failed")
    shown = said(told, title=broken, name="mine")
    assert shown.title == "Import failed"
    assert shown.name == "mine"
    assert shown.footer.endswith("templates that failed: title")
    assert "words failed" in caplog.text
    assert "自定义文案出错：title" in said(told, "zh", title=broken).footer


def test_foreign_text_in_a_template_is_cleaned_and_cut_as_everywhere():
    told = message("import.succeeded", func_name=HOSTILE * 100)
    shown = said(told, title="{{ func_name }}")
    assert len(shown.title) <= LONGEST_SENTENCE
    assert not set(shown.title) & set("\x00\x1b\r\n\u202e\u2066")


def test_foreign_text_is_never_a_template_itself():
    told = message("import.succeeded", key="{{ 7 * 7 }}")
    assert said(told, title="{{ key }}").title == "{{ 7 * 7 }}"


def test_a_template_that_is_none_is_an_error_of_the_configuration_with_its_path(tmp_path):
    file = tmp_path / "relay.toml"
    file.write_text(
        '[channels.ops]\nkind = "slack"\nurl = "https://x.example/1"\n'
        '[channels.ops.words]\ntitle = "{{ func_name"\ntitel = "x"\n'
    )
    with pytest.raises(ConfigErrors) as caught:
        load(file, {}, settings_class)
    told = {error.path: str(error) for error in caught.value.errors}
    assert "is no Jinja template" in told["channels.ops.words.title"]
    assert "channels.ops.words.titel" in told
