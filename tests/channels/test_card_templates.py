"""Templates of a team: the variables, the sandbox, and templates that fail."""

from __future__ import annotations

import pytest

from relay.channels.card import LONGEST_SENTENCE, build_card
from relay.channels.card_templates import apply_templates
from relay.channels.samples import OUTCOMES, PROBLEM, digest, message, target_message
from relay.config.load import load
from relay.config.templates import WordsSettings
from relay.errors import ConfigErrors
from relay.plugins import settings_class
from relay.testing.channel_suite import HOSTILE

SAMPLES = [*map(message, OUTCOMES), target_message("down"), target_message("up"), digest()]


def card_with(sample, language="en", **templates):
    card = build_card(sample.type, sample.body, language)
    return apply_templates(card, WordsSettings(**templates), sample.type, sample.body, language)


def test_without_templates_the_card_is_unchanged():
    sample = message("import.failed")
    assert card_with(sample) == build_card(sample.type, sample.body, "en")


def test_every_text_can_be_replaced():
    card = card_with(
        message("import.failed"),
        title="{{ result }}!",
        name="{{ package }}/{{ func_name }}",
        problem="{{ error.code }}",
        advice="{{ advice }} Call 110.",
        footer="{{ source }}",
    )
    assert (card.title, card.name, card.footer) == ("failed!", "default/orders", "exports")
    assert card.problem.value == PROBLEM.code
    assert card.advice.value == f"{PROBLEM.hint.en} Call 110."


def test_variables_are_in_the_language_of_the_channel():
    card = card_with(
        message("import.failed"), "zh", title="{{ error.message }}", advice="{{ advice }}"
    )
    assert card.title == PROBLEM.message.zh
    assert card.advice.value == PROBLEM.hint.zh
    assert card.advice.label == "下一步怎么做"


def test_a_template_can_remove_or_add_a_sentence():
    assert card_with(message("import.failed"), problem="", advice="{# nothing #}").problem is None
    assert card_with(message("import.succeeded"), advice="Celebrate.").advice.value == "Celebrate."


def test_title_and_name_cannot_be_removed():
    card = card_with(message("import.failed"), title="{{ '' }}", name="{{ '' }}")
    assert (card.title, card.name) == ("Import failed", "orders")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.type)
def test_every_documented_variable_is_defined_for_every_type_of_message(sample):
    names = "type result title name problem advice footer func_name error reason links count key"
    card = card_with(sample, title=" ".join(f"{{{{ {name} }}}}" for name in names.split()))
    assert "failed:" not in card.footer


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
def test_a_template_that_fails_is_reported_in_the_footer_and_changes_nothing_else(broken, caplog):
    sample = message("import.failed")
    card = card_with(sample, title=broken, name="mine")
    assert card.title == "Import failed"
    assert card.name == "mine"
    assert card.footer.endswith("templates that failed: title")
    assert "words failed" in caplog.text
    assert "自定义文案出错：title" in card_with(sample, "zh", title=broken).footer


def test_foreign_text_in_a_template_is_cleaned_and_shortened():
    sample = message("import.succeeded", func_name=HOSTILE * 100)
    card = card_with(sample, title="{{ func_name }}")
    assert len(card.title) <= LONGEST_SENTENCE
    assert not set(card.title) & set("\x00\x1b\r\n\u202e\u2066")


def test_foreign_text_is_not_interpreted_as_a_template():
    sample = message("import.succeeded", key="{{ 7 * 7 }}")
    assert card_with(sample, title="{{ key }}").title == "{{ 7 * 7 }}"


def test_an_invalid_template_is_a_configuration_error_with_the_path(tmp_path):
    file = tmp_path / "relay.toml"
    file.write_text(
        '[channels.ops]\nkind = "slack"\nurl = "https://x.example/1"\n'
        '[channels.ops.words]\ntitle = "{{ func_name"\ntitel = "x"\n'
    )
    with pytest.raises(ConfigErrors) as caught:
        load(file, {}, settings_class)
    errors = {error.path: str(error) for error in caught.value.errors}
    assert "is not a valid Jinja template" in errors["channels.ops.words.title"]
    assert "channels.ops.words.titel" in errors
