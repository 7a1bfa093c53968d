"""Foreign text: which characters are invisible, and how texts and sizes are shown."""

import pytest

from relay.config.text import escape_invisible, excerpt, format_size, is_invisible, one_line

INVISIBLE = "\x00\x1b\x7f\x85\u200b\u200e\u200f\u2028\u202e\u2066\u061c\ufeff\ud800\xa0"


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda character: f"U+{ord(character):04X}")
def test_characters_that_a_terminal_or_a_page_may_act_on_are_invisible(character):
    assert is_invisible(character)
    assert escape_invisible(f"a{character}b").isascii()
    assert one_line(f"a{character}b") in ("ab", "a b")


@pytest.mark.parametrize("character", "a é中\u3000😀～")
def test_other_characters_are_shown_as_they_are(character):
    assert not is_invisible(character)
    assert escape_invisible(character) == character


def test_kept_characters_are_not_escaped():
    assert escape_invisible("a\nb\x1b", keep="\n") == "a\nb\\u001b"


def test_a_line_has_single_spaces():
    assert one_line(" a\r\n\tb\u3000 c\u2028d ") == "a b c d"


def test_an_excerpt_says_that_it_was_cut():
    assert excerpt("abcdef", 6) == "abcdef"
    assert excerpt("abcdefg", 6) == "abcde…"
    assert excerpt("a\nb" * 100, 4) == "a b…"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (3500, "3.4 KiB"), (2**40 * 2, "2.0 TiB")],
)
def test_sizes_have_the_unit_that_people_read(size, text):
    assert format_size(size) == text
