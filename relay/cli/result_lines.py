"""The result of an import as labelled lines: what was changed, and what a person should know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from relay.channels.messages import warnings_of
from relay.cli.output import visible
from relay.cli.retrigger import describe_upload
from relay.model import Difference

_LISTS = (
    ("effect", "changed"),
    ("not_applied", "not applied"),
    ("unknown_fields", "may be reset"),
)
"""The keys of a result that hold names, and the label of each."""


def result_lines(result: object) -> Iterator[tuple[str, str]]:
    """Yield label and text of each part of a result. A plug-in may store anything as the result."""
    if not isinstance(result, Mapping):
        return
    words = result.get("words")
    if isinstance(words, Mapping) and "en" in words:
        yield "because", visible(words["en"])
    for key, label in _LISTS:
        if names := ", ".join(map(str, _list(result.get(key)))):
            yield label, visible(names)
    yield from _differences(result)
    if isinstance(newer := result.get("overwrites"), Mapping):
        yield "overwrote", visible(describe_upload(dict(newer)).en)
    for warning in warnings_of(result):
        where = warning["where"]
        text = warning["message"]["en"]
        yield "warning", visible(f"{text} ({where})" if where and where not in text else text)


def _differences(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    label = "settings" if "how" in result else "differs"
    for difference in _list(result.get("differences")):
        if isinstance(difference, dict):
            yield label, visible(Difference.from_json(difference).words.en)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def join_lines(lines: Iterable[tuple[str, str]]) -> list[str]:
    """Return the lines for output, each with the label in a column of its own."""
    return [f"  {label:12} {text}" for label, text in lines]
