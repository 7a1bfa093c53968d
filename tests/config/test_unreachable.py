"""Tests of the routes that can never match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.globs import compile_glob
from relay.config.load import Route, Settings, SourceSettings
from relay.config.unreachable import is_covered, unreachable_routes


@pytest.mark.parametrize(
    ("glob", "others"),
    [
        ("prod/*.zip", ["*"]),
        ("prod/*.zip", ["*.zip"]),
        ("prod/a.zip", ["prod/?.zip"]),
        ("prod/a*b.zip", ["prod/*.zip"]),
        ("[a-c].zip", ["[a-z].zip"]),
        ("[!a].zip", ["?.zip"]),
        ("[ab].zip", ["a.zip", "b.zip"]),
        ("*", ["[a-m]*", "[!a-m]*", "?", "**"]),
        ("a**b", ["a*b"]),
        ("?*", ["*?"]),
    ],
)
def test_a_glob_that_is_covered(glob, others):
    assert is_covered(glob, others)


@pytest.mark.parametrize(
    ("glob", "others"),
    [
        ("*", ["*.zip"]),
        ("*.zip", ["prod/*.zip", "test/*.zip"]),
        ("prod/*.zip", []),
        ("*", ["?*"]),
        ("[a-z].zip", ["[a-c].zip", "[e-z].zip"]),
        ("prod/*", ["Prod/*"]),
        ("[]].zip", ["[a].zip"]),
    ],
)
def test_a_glob_that_is_not_covered(glob, others):
    assert not is_covered(glob, others)


globs = st.text("ab*?", min_size=1, max_size=5)


@given(globs, st.lists(globs, max_size=3), st.lists(st.text("abc", max_size=6), max_size=30))
def test_no_name_contradicts_the_comparison(glob, others, names):
    patterns = [compile_glob(other) for other in others]
    if is_covered(glob, others):
        for name in names:
            if compile_glob(glob).fullmatch(name):
                assert any(pattern.fullmatch(name) for pattern in patterns), name


def test_hostile_globs_are_compared_in_bounded_time():
    wild = "*" + "?a*" * 30
    assert is_covered(wild, [wild[:-1] + "b*"]) is False


def reasons(*routes, buckets=()):
    settings = Settings(
        sources={"s": SourceSettings(kind="s3", buckets=buckets)},
        routes=[Route(source="s", target="t", **route) for route in routes],
    )
    return {found.number: found.words for found in unreachable_routes(settings)}


def test_an_earlier_route_matches_everything_of_a_later_one():
    assert reasons({"key": "*.zip", "name": "all"}, {"key": "prod/*.zip"}) == {
        1: "never matches: route all before it matches all of its objects"
    }
    assert reasons({"key": "prod/*.zip"}, {"key": "*.zip"}) == {}
    assert reasons({"key": "*", "bucket": "a"}, {"key": "*"}) == {}


def test_several_earlier_routes_together():
    routes = {"key": "[ab].zip", "name": "x"}, {"key": "[c].zip", "name": "y"}
    assert reasons(*routes, {"key": "[a-c].zip"}) == {
        2: "never matches: the routes x, y before it match all of its objects"
    }


def test_buckets_of_the_source_decide():
    only = {"buckets": ("exports", "archive")}
    assert reasons({"bucket": "Exports"}, **only) == {
        0: "never matches: source s accepts only events of exports, archive"
    }
    routes = [{"bucket": "exports"}, {"bucket": "archive"}, {"bucket": "*"}]
    assert list(reasons(*routes, **only)) == [2]
    assert reasons(*routes) == {}


@pytest.mark.parametrize("route", [{"bucket": "exports/prod"}, {"key": "/prod/*.zip"}], ids=str)
def test_a_glob_that_matches_no_name(route):
    assert list(reasons(route)) == [0]


def test_routes_of_other_sources_do_not_count():
    settings = Settings(
        sources={name: SourceSettings(kind="s3") for name in "ab"},
        routes=[Route(source=name, target="t") for name in "ab"],
    )
    assert list(unreachable_routes(settings)) == []
