"""Cuts a card politely until its service takes it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from relay.channels.card import Card


def fitted(shown: Card, fits: Callable[[Card], bool]) -> Card:
    """The card, or as much of it as fits: the last of a digest's lines go first, then facts.

    Where lines went there is an ellipsis, no number: the title says how many there are in all.
    """
    while not fits(shown) and (shown.lines or shown.facts):
        if shown.lines:
            shown = replace(shown, lines=shown.lines[:-1], more="…")
        else:
            shown = replace(shown, facts=shown.facts[:-1])
    return shown
