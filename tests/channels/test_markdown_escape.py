"""Escaping of foreign text for Markdown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given

from relay.channels.markdown_escape import code_span, escape_markdown
from tests.channels.cards import words


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("**bold** *thin* ~~gone~~ ||hidden||", "∗∗bold∗∗ ∗thin∗ ∼∼gone∼∼ ∣∣hidden∣∣"),
        ("`code` \\*", "ˋcodeˋ ⧵∗"),
        ("_slanted_ __under__ on_conflict", "ˍslantedˍ ˍˍunderˍˍ on_conflict"),
        ("[click](https://evil.example)", "［click］(https:\u2060//evil.example)"),
        ("[a]: https://evil.example", "［a］: https:\u2060//evil.example"),
        ("see www.evil.example", "see www\u2060.evil.example"),
        ("HTTP://EVIL.EXAMPLE WWW.X", "HTTP:\u2060//EVIL.EXAMPLE WWW\u2060.X"),
        ("@everyone @here", "@\u2060everyone @\u2060here"),
        ("<@123> <@&1> <#2> <!here>", "‹@\u2060123› ‹@&\u20601› ‹#2› ‹!here›"),
        ("<t:1700000000:R> <a:x:1>", "‹t:1700000000:R› ‹a:x:1›"),
        ("<at>all</at> <img src=x>", "‹at›all‹/at› ‹img src=x›"),
        (":tada: :100: at 10:30:00", ":\u2060tada: :\u2060100: at 10:30:00"),
        ("&lt; &#60; a & b", "&\u2060lt; &\u2060#60; a & b"),
        ("{{DATE(2026-03-04)}}", "{\u2060{DATE(2026-03-04)}}"),
        ("# Heading", "\u2060# Heading"),
        ("-# small", "\u2060-# small"),
        ("- one", "\u2060- one"),
        ("urn:fss:cn-north-4:x:y", "urn:fss:cn-north-4:x:y"),
        ("1. one", "\u20601. one"),
        ("1.4 MiB", "1.4 MiB"),
        ("orders-v2_final.zip: 1.5", "orders-v2_final.zip: 1.5"),
        ("压缩包的末尾缺失，请重新上传。", "压缩包的末尾缺失，请重新上传。"),
    ],
)
def test_markup_becomes_text(hostile, shown):
    assert escape_markdown(hostile) == shown


@given(words)
def test_escaped_text_looks_the_same(text):
    """Without joiners the text has the same length, and only markup characters differ."""
    shown = escape_markdown(text).replace("\u2060", "")
    plain = text.replace("\u2060", "")
    assert len(shown) == len(plain)
    for escaped, original in zip(shown, plain, strict=True):
        assert escaped == original or original in "*~`|\\[]<>_"


@given(words)
def test_escaping_twice_changes_nothing(text):
    assert escape_markdown(escape_markdown(text)) == escape_markdown(text)


@given(words)
def test_a_code_span_contains_no_backtick(text):
    shown = code_span(text)
    assert shown[0] == shown[-1] == "`"
    assert "`" not in shown[1:-1]
    assert "<" not in shown


def test_the_look_alikes_are_visible_characters():
    shown = escape_markdown("*~`|\\[]<>_")
    assert {unicodedata.category(character)[0] for character in shown} <= {"S", "P", "L"}
