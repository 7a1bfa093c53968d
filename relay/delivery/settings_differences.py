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
    if found.fields:
        words = Localized(
            f"The target holds this code with other settings: {_join(found.fields).en}.",
            f"目标已有相同代码，但配置不同：{_join(found.fields).zh}。",
        )
        differences = [difference.to_json() for difference in found.fields]
        result = {**described, "differences": differences, "words": words._asdict()}
        return Skipped(CONFIGURATION_DIFFERS, result)
    if found.refusal:
        problem = found.refusal.problem
        warning = {"code": problem.code, "message": problem.message.en, "where": None}
        described = {**described, "warnings": [warning]}
    return Skipped(NotNeeded.reason, described)


def predict_skip(found: Differences) -> Json:
    """Return how a plan describes the skip of a function with the same code."""
    if not found.fields:
        return {"reason": NotNeeded.reason}
    return {"reason": CONFIGURATION_DIFFERS, **describe_differences(found)}


def predict_update(found: Differences) -> Json:
    """Return how a plan describes an update; a known refusal replaces the action."""
    if found.refusal:
        problem = found.refusal.problem
        return {"action": "fail", "code": problem.code, "why": problem.message.en}
    named = {"not_applied": list(found.not_applied), "unknown_fields": list(found.unknown)}
    return {
        **describe_differences(found),
        **{name: value for name, value in named.items() if value},
    }


def describe_differences(found: Differences) -> Json:
    """Return the differences as JSON; {} if there are none."""
    differences = [difference.to_json() for difference in found.fields]
    return {"differences": differences} if differences else {}


def _join(differences: tuple[Difference, ...]) -> Localized:
    shown = [difference.words for difference in differences[:_MOST_IN_WORDS]]
    more = len(differences) - len(shown)
    en = ", ".join(words.en for words in shown) + (f" and {more} more" if more else "")
    zh = "，".join(words.zh for words in shown) + (f"，另有 {more} 项" if more else "")
    return Localized(en, zh)
