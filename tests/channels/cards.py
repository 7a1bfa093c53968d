"""Hypothesis strategies for cards with any text that `relay.channels.card` can contain."""

from __future__ import annotations

from hypothesis import strategies as st

from relay.channels.card import (
    LONGEST_CODE,
    LONGEST_SENTENCE,
    MOST_LINES,
    Card,
    Fact,
    Line,
    Link,
    plain,
)
from relay.channels.card_texts import SIGNS, TONES
from relay.testing.channel_suite import HOSTILE

BASE = "https://relay.example.com/deliveries"

pieces = st.sampled_from(
    [*"*_~`|\\[]()<>&{}#-+1.:@!/ ", "://", "www.", "<@1>", "@here", ":tada:", "&amp;", "名", "😀"]
)
words = st.one_of(
    st.text(max_size=40),
    st.lists(pieces, max_size=600).map("".join),
    st.sampled_from([HOSTILE * 30, "名" * 1000, "&" * 1000, "😀" * 1000, "a" * 1000]),
)
names = words.map(plain)
sentences = words.map(lambda text: plain(text, LONGEST_SENTENCE))
urls = st.integers(0, 10**30).map(lambda number: f"{BASE}/{number}")
labels = st.sampled_from(["Function", "What happened", "出了什么问题", "URN"])
facts = st.one_of(
    st.builds(Fact, labels, names, st.just(False)),
    st.builds(Fact, labels, sentences, st.just(True)),
)
problems = st.none() | st.builds(Fact, labels, sentences, st.just(True))
lines = st.builds(Line, st.sampled_from(list(SIGNS.values())), names, names, st.none() | urls)


def build_cards(names, sentences, facts, lines, links):
    return st.builds(
        Card,
        result=st.sampled_from([*TONES, "digest"]),
        tone=st.sampled_from(["good", "bad", "neutral", "warning"]),
        sign=st.sampled_from(list(SIGNS.values())),
        title=names,
        name=names,
        facts=facts.map(tuple),
        problem=problems,
        code=st.none() | words.map(lambda text: plain(text, LONGEST_CODE)),
        advice=problems,
        links=links.map(tuple),
        footer=sentences,
        lines=lines.map(tuple),
        more=st.sampled_from(["", "and 488 more", "另有 488 个"]),
    )


cards = build_cards(
    names,
    sentences,
    st.lists(facts, max_size=12),
    st.lists(lines, max_size=MOST_LINES),
    st.lists(st.builds(Link, labels, urls), max_size=2),
)

long = st.sampled_from("&😀*名a_@:<").map(lambda character: plain(character * 1000))
full_cards = build_cards(
    long,
    long,
    st.builds(Fact, labels, long, st.booleans()).map(lambda fact: [fact] * 12),
    st.builds(Line, st.just("❌"), long, long, urls).map(lambda line: [line] * MOST_LINES),
    st.builds(Link, labels, urls).map(lambda link: [link] * 2),
)
"""Cards that exceed the limit of every service."""
