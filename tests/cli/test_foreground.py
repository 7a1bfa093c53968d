"""Waiting in `relay import`: why a delivery waits, and retries of a file's import."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from relay.cli import import_
from relay.cli.foreground import ForegroundRetry, ImportCall, wait_reason
from relay.config.backoff import Backoff
from relay.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure, Throttled
from relay.model import Delivery, Json, Kind, Localized, Problem, Skipped, State, Succeeded

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)
SUCCEEDED = Succeeded({})


def delivery(
    state: State = State.PENDING, due: datetime | None = NOW, attempts: int = 0
) -> Delivery:
    overloaded = Problem("x.503", Localized("It is overloaded", "它过载了"), Localized("", ""))
    return Delivery(
        "d1",
        Kind.IMPORT,
        state,
        *("exports", "exports#1", "exports", "a.zip", "prod"),
        created=NOW,
        due=due,
        attempts=attempts,
        error=overloaded if attempts else None,
    )


def target(state: str, since: datetime | None = None, until: datetime | None = None) -> Json:
    return {"name": "prod", "kind": "x", "state": state, "since": since, "until": until}


@pytest.mark.parametrize(
    ("state", "condition"),
    [("paused", "when it is resumed:"), ("down", "when it responds again or is resumed:")],
)
def test_a_paused_or_unavailable_target_blocks_the_delivery(state: str, condition: str) -> None:
    wait = wait_reason(delivery(attempts=1, due=LATER), target(state, since=NOW), NOW)
    assert wait.is_blocked
    assert f"prod is {state}, since 2026-11-24 08:30:00Z" in wait.text
    assert condition in wait.text
    assert "`relay resume prod`" in wait.text
    assert "`relay show d1`" in wait.text


def test_a_backoff_has_the_error_and_the_time_of_the_next_attempt() -> None:
    wait = wait_reason(delivery(due=LATER, attempts=2), target("open"), NOW)
    assert not wait.is_blocked
    assert wait.text == (
        "Attempt 2 failed: It is overloaded (x.503). Next: 2026-11-24 08:33:00Z (in 3 min)."
    )
    second_later = NOW + timedelta(seconds=1)
    same = wait_reason(delivery(due=LATER, attempts=2), target("open"), second_later)
    assert same.key == wait.key, "an unchanged reason is printed once"
    next_backoff = delivery(due=LATER + timedelta(hours=1), attempts=3)
    changed = wait_reason(next_backoff, target("open"), NOW)
    assert changed.key != wait.key, "a changed reason is printed again"


def test_a_failed_attempt_is_printed_even_if_the_next_is_due_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retry = delivery(due=NOW, attempts=1)
    stored, lines = [retry, delivery(State.SUCCEEDED, attempts=2)], list[str]()
    claims = iter([retry, retry])
    relay: Any = SimpleNamespace(
        worker=SimpleNamespace(claim=lambda *_, **__: next(claims, None), run=lambda *_: None),
        ledger=SimpleNamespace(history=SimpleNamespace(delivery=lambda _: stored.pop(0))),
        operations=SimpleNamespace(targets=lambda: [target("open")]),
    )
    bar: Any = SimpleNamespace(update=None, say=lines.append)
    monkeypatch.setattr(import_, "utc_now", lambda: NOW)
    import_.run_delivery(relay, retry, bar)
    assert lines == ["Attempt 1 failed: It is overloaded (x.503). Next: now."]


@pytest.mark.parametrize(
    ("waiting", "at", "text"),
    [
        (delivery(State.RUNNING), target("paused", since=NOW), "another process is importing it"),
        (delivery(), target("waiting", until=LATER), "asked to wait until 2026-11-24 08:33:00Z"),
        (delivery(due=LATER), target("open"), "is not due yet. Next: 2026-11-24 08:33:00Z"),
        (delivery(), target("open"), "waits for a free slot at prod"),
        (delivery(), None, "waits for a free slot at prod"),
    ],
    ids=["running", "throttled", "not due", "no slot", "unknown target"],
)
def test_every_other_reason_ends_without_intervention(
    waiting: Delivery, at: Json | None, text: str
) -> None:
    wait = wait_reason(waiting, at, NOW)
    assert text in wait.text
    assert not wait.is_blocked


class Recorder:
    """Records the printed lines and the waits; no time passes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.waits: list[float] = []

    def retry(self) -> ForegroundRetry:
        rules = Backoff(attempts=3, first=timedelta(seconds=2), longest=timedelta(seconds=5))
        return ForegroundRetry(self.lines.append, lambda: NOW, self.waits.append, rules)


def failing(*errors: Exception) -> ImportCall:
    """Return an import that raises one error per attempt, then succeeds."""
    remaining = list(errors)

    def import_once() -> Succeeded | Skipped:
        if remaining:
            raise remaining.pop(0)
        return SUCCEEDED

    return import_once


def overloaded(retry_after: float | None = None) -> TemporaryFailure:
    after = None if retry_after is None else timedelta(seconds=retry_after)
    return TemporaryFailure("x.503", "It is overloaded", "Relay tries again.", retry_after=after)


def test_a_temporary_failure_is_printed_and_retried_after_a_wait() -> None:
    recorder = Recorder()
    lost = OutcomeUnknown("x.lost", "The response was lost")
    assert recorder.retry().run(failing(overloaded(), lost)) is SUCCEEDED
    first, second = recorder.waits
    assert 1.8 <= first <= 2.2
    assert 4.5 <= second <= 5.5
    assert recorder.lines[0] == "Attempt 1 failed: It is overloaded (x.503). Relay tries again."
    assert recorder.lines[1].startswith("Attempt 2 of 3 in ")


def test_the_longer_of_retry_after_and_the_backoff_is_waited() -> None:
    recorder = Recorder()
    assert recorder.retry().run(failing(overloaded(17), overloaded(0))) is SUCCEEDED
    first, second = recorder.waits
    assert first == 17
    assert 4.5 <= second <= 5.5


@pytest.mark.parametrize(
    ("failure", "attempts", "hint"),
    [
        (overloaded(), 3, "Tried 3 times. Run the command again later:"),
        (
            Throttled("x.429", "Slow down", "Relay waits.", retry_after=timedelta(hours=1)),
            1,
            "in 1 h",
        ),
    ],
    ids=["attempts used up", "wait too long"],
)
def test_the_last_failure_has_a_hint_for_the_command_line(
    failure: TemporaryFailure, attempts: int, hint: str
) -> None:
    recorder = Recorder()
    with pytest.raises(TemporaryFailure) as raised:
        recorder.retry().run(failing(*[failure] * attempts))
    assert hint in raised.value.hint.en
    assert raised.value.code == failure.code
    assert len(recorder.waits) == attempts - 1


def test_a_permanent_failure_is_not_retried() -> None:
    recorder = Recorder()
    with pytest.raises(PermanentFailure):
        recorder.retry().run(failing(PermanentFailure("x.401", "No")))
    assert (recorder.waits, recorder.lines) == ([], [])
