"""The outcome of a skip by what the target reports about the settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from relay.delivery.settings_differences import predict_skip, predict_update, skip_same_code
from relay.errors import PermanentFailure
from relay.model import Difference, Json, Localized, Skipped
from relay.targets.contract import NO_OPTIONS, Differences

TIMEOUT = Difference("Timeout", 3, 30)
REFUSAL = PermanentFailure("target.refused", Localized("No", "不行"), Localized("", ""))


def skip(found: Differences) -> Skipped:
    nothing = cast(Any, None)
    target = cast(Any, SimpleNamespace(differences=lambda *_: found))
    return skip_same_code(target, nothing, nothing, NO_OPTIONS, {"func_name": "hello"})


def warnings(found: Differences) -> list[Json]:
    return list(skip(found).result["warnings"])


def test_without_differences_nothing_is_added() -> None:
    assert skip(Differences()) == Skipped("unchanged", {"func_name": "hello"})


def test_values_that_are_not_shown_are_a_warning_in_both_languages() -> None:
    for fields, reason in (((), "unchanged"), ((TIMEOUT,), "configuration differs")):
        found = Differences(fields, not_compared=("Secret", "Log"))
        assert skip(found).reason == reason
        (warning,) = warnings(found)
        assert warning["code"] == "configuration.not_compared"
        assert "Secret, Log" in warning["message"]["en"]
        assert "Secret, Log" in warning["message"]["zh"]


def test_a_plan_names_the_values_that_are_not_shown() -> None:
    found = Differences((TIMEOUT,), ("New",), ("future",), ("Secret",))
    expected = {
        "differences": [TIMEOUT.to_json()],
        "not_applied": ["New"],
        "not_compared": ["Secret"],
    }
    assert predict_skip(found) == {"reason": "configuration differs", **expected}
    assert predict_update(found) == {**expected, "unknown_fields": ["future"]}


def test_a_refusal_is_a_warning_in_both_languages() -> None:
    (warning,) = warnings(Differences(refusal=REFUSAL))
    assert warning == {
        "code": "target.refused",
        "message": {"en": "No", "zh": "不行"},
        "where": None,
    }
