"""Describes how the settings of an existing function differ: for the skip, plan and message."""

from __future__ import annotations

from relay.errors import NotNeeded
from relay.model import Difference, Json, Localized, Skipped
from relay.targets.contract import (
    Archive,
    Differences,
    ExistingFunction,
    Target,
    UpdateOptions,
)

CONFIGURATION_DIFFERS = "configuration differs"

_MOST_IN_WORDS = 10


def skip_same_code(
    target: Target,
    existing: ExistingFunction,
    archive: Archive,
    options: UpdateOptions,
    described: Json,
) -> Skipped:
    """Return the outcome for policy `skip` when the function has the archive's code.

    `described`: the fields of the result that describe the function.
    """
    found = target.differences(existing, archive, options)
    result = {**described, **describe_differences(found), **_names(not_applied=found.not_applied)}
    if warnings := _warnings(found):
        result["warnings"] = warnings
    if not found.fields:
        return Skipped(NotNeeded.reason, result)
    words = Localized(
        f"The target holds this code with other settings: {_join(found.fields).en}.",
        f"目标已有相同代码，但配置不同：{_join(found.fields).zh}。",
    )
    return Skipped(CONFIGURATION_DIFFERS, {**result, "words": words._asdict()})


def predict_skip(found: Differences) -> Json:
    """Return how a plan describes the skip of a function with the same code."""
    reason = CONFIGURATION_DIFFERS if found.fields else NotNeeded.reason
    named = _names(not_applied=found.not_applied, not_compared=found.not_compared)
    return {"reason": reason, **describe_differences(found), **named}


def predict_update(found: Differences) -> Json:
    """Return how a plan describes an update; a known refusal replaces the action."""
    if found.refusal:
        problem = found.refusal.problem
        return {"action": "fail", "code": problem.code, "why": problem.message.en}
    named = _names(
        not_applied=found.not_applied,
        not_compared=found.not_compared,
        unknown_fields=found.unknown,
    )
    return {**describe_differences(found), **named}


def describe_differences(found: Differences) -> Json:
    """Return the differences as JSON; {} if there are none."""
    differences = [difference.to_json() for difference in found.fields]
    return {"differences": differences} if differences else {}


def _names(**named: tuple[str, ...]) -> Json:
    return {kind: list(names) for kind, names in named.items() if names}


def _warnings(found: Differences) -> list[Json]:
    """Return what prevents a comparison: a wrong value, or values that are not shown."""
    warnings = []
    if found.refusal and not found.fields:
        problem = found.refusal.problem
        warnings.append((problem.code, problem.message))
    if names := ", ".join(found.not_compared):
        words = Localized(
            f"The target does not show the value of {names}, so it was not compared",
            f"目标不显示 {names} 的值，因此未作比较",
        )
        warnings.append(("configuration.not_compared", words))
    return [{"code": code, "message": words._asdict(), "where": None} for code, words in warnings]


def _join(differences: tuple[Difference, ...]) -> Localized:
    shown = [difference.words for difference in differences[:_MOST_IN_WORDS]]
    more = len(differences) - len(shown)
    en = ", ".join(words.en for words in shown) + (f" and {more} more" if more else "")
    zh = "，".join(words.zh for words in shown) + (f"，另有 {more} 项" if more else "")
    return Localized(en, zh)
