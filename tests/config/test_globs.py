"""Matches of globs, and the groups of their wildcards."""

from __future__ import annotations

import re
import time
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.globs import compile_glob, wildcards


@pytest.mark.parametrize(
    ("glob", "key", "groups"),
    [
        ("*", "", ("",)),
        ("*", "a/b\nc", ("a/b\nc",)),
        ("prod/*.zip", "prod/a.zip", ("a",)),
        ("prod/*.zip", "prod/a/b.zip", ("a/b",)),
        ("**/*.zip", "a/b/c.zip", ("a", "b/c")),
        ("*-*.zip", "a-b-c.zip", ("a", "b-c")),
        ("v?.zip", "v7.zip", ("7",)),
        ("v[0-9][!a-c].zip", "v7d.zip", ("7", "d")),
        ("[*]x[?]", "*x?", ("*", "?")),
        ("[]a]", "]", ("]",)),
        ("[!]]", "a", ("a",)),
        ("[a-]", "-", ("-",)),
        ("a.b+c(d)", "a.b+c(d)", ()),
        ("日本/*", "日本/語", ("語",)),
        ("*", "\udcff", ("\udcff",)),
    ],
)
def test_a_glob_matches_and_remembers(glob: str, key: str, groups: tuple[str, ...]) -> None:
    match = compile_glob(glob).fullmatch(key)
    assert match is not None
    assert match.groups() == groups
    assert wildcards(glob) == len(groups)


@pytest.mark.parametrize(
    ("glob", "key"),
    [
        ("prod/*.zip", "Prod/a.zip"),
        ("prod/*.zip", "prod/a.zip\n"),
        ("prod/*.zip", "x/prod/a.zip"),
        ("a.zip", "axzip"),
        ("?", ""),
        ("?", "ab"),
        ("[!a]", "a"),
        ("[^a]", "b"),
        ("[a-c]", "B"),
    ],
)
def test_a_glob_does_not_match(glob: str, key: str) -> None:
    assert compile_glob(glob).fullmatch(key) is None


@pytest.mark.parametrize(
    ("glob", "words"),
    [
        ("", "is empty"),
        ("a[b", "no ] closes"),
        ("[", "no ] closes"),
        ("[]", "no ] closes"),
        ("[!]", "no ] closes"),
        ("[z-a]", "backwards"),
        ("x" * 1025, "longer than 1024"),
        ("*a" * 33, "more than 32 stars"),
    ],
)
def test_a_glob_that_is_none_says_what_is_wrong(glob: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        compile_glob(glob)


@given(
    st.lists(st.sampled_from(["*", "?", "a", "b", "/", ".", "[ab]", "[!a]"]), min_size=1).map(
        "".join
    ),
    st.text("ab/.\n", max_size=12),
)
def test_it_matches_what_the_standard_library_would(glob: str, key: str) -> None:
    if glob.replace("**", "*").count("*") <= 32 and len(glob) <= 1024:
        assert bool(compile_glob(glob).fullmatch(key)) == bool(re.match(translate(glob), key))


def test_a_hostile_key_takes_no_time() -> None:
    began = time.perf_counter()
    assert compile_glob("*a" * 32 + "b").fullmatch("a" * 50_000) is None
    assert time.perf_counter() - began < 1
