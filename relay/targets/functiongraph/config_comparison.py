"""Compares the settings of an export with those that FunctionGraph shows.

What FunctionGraph shows only as a mask, or not at all, cannot be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from relay.archive.findings import printable
from relay.model import Difference
from relay.targets.functiongraph.config_fields import (
    ENCRYPTED,
    FREE_TEXT,
    MASK,
    NOT_SHOWN,
    is_mask,
    variables,
)


@dataclass(slots=True)
class Comparison:
    """The settings that differ, and the names of those that cannot be compared."""

    differences: list[Difference] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def add(self, name: str, shown: str, current: Any, wanted: Any) -> None:
        """Compare a field with the value that is wanted. `shown`: the name of the property."""
        if name == "user_data":
            self._add_environment(current, wanted)
        elif isinstance(wanted, dict):
            parts = current if isinstance(current, dict) else {}
            not_shown = NOT_SHOWN.get(name, {})
            for key, value in wanted.items():
                identifier = not_shown.get(key)
                if identifier and key not in parts and parts.get(identifier):
                    if identifier not in wanted:
                        self.not_compared.append(f"{shown}.{key}")
                else:
                    self._add_value(name, f"{shown}.{key}", parts.get(key), value)
        else:
            self._add_value(name, shown, current, wanted)

    def _add_value(self, name: str, shown: str, current: Any, wanted: Any) -> None:
        is_same = _is_same(name, current, wanted)
        if is_same is None:
            self.not_compared.append(shown)
        elif not is_same and name == ENCRYPTED:
            self.differences.append(Difference(shown, MASK if current else None, MASK))
        elif not is_same:
            self.differences.append(Difference(shown, brief(current), brief(wanted)))

    def _add_environment(self, current: Any, wanted: Any) -> None:
        """Compare names and values; the values are secret."""
        before, after = variables(current), variables(wanted)
        if current and (is_mask(current) or is_mask(wanted)):
            self.not_compared.append("Environment")
        elif before is None or after is None:
            self.differences.append(Difference("Environment", MASK if current else None, MASK))
        else:
            for name in sorted({*before, *after}):
                self._add_variable(name, before, after)

    def _add_variable(self, name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        shown = f"Environment.{printable(name)}"
        if name in after and is_mask(before.get(name)):
            self.not_compared.append(shown)
        elif before.get(name) != after.get(name):
            current, wanted = (MASK if name in side else None for side in (before, after))
            self.differences.append(Difference(shown, current, wanted))


def is_masked(name: str, value: Any) -> bool:
    """Whether the value of a field has a part that is shown as asterisks, wholly or partly.

    Of a text that users write freely, only a whole value counts.
    """
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return any(is_masked(name, part) for part in parts)
    if name == "user_data" and (found := variables(value)):
        return any(map(is_mask, found.values()))
    if name in FREE_TEXT:
        return is_mask(value)
    return isinstance(value, str) and MASK in value


def brief(value: Any) -> Any:
    """Return a value to show, limited in length."""
    if value is None or isinstance(value, bool | int):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return printable(text, 60)


def _is_same(name: str, current: Any, wanted: Any) -> bool | None:
    """Whether the current value has all parts of the wanted value; None if it is a mask.

    Absent, empty, zero and false are the same.
    """
    if not current and not wanted:
        return True
    if isinstance(wanted, dict) and isinstance(current, dict):
        return _all(_is_same(name, current.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(current, list) and len(current) == len(wanted):
        pairs = zip(current, wanted, strict=True)
        return _all(_is_same(name, *pair) for pair in pairs)
    if isinstance(current, str) and is_masked(name, current):
        return None
    if name == ENCRYPTED and (found := variables(current)):
        return found == variables(wanted)
    return bool(current == wanted)


def _all(answers: Iterable[bool | None]) -> bool | None:
    found = set(answers)
    return False if False in found else None if None in found else True
