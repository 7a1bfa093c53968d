"""Why `relay import` waits, in words; and how it tries a file again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.cli.retry import Bring, ForegroundRetry
from relay.cli.wait_reason import why
from relay.config.backoff import Backoff
from relay.delivery.conflict import ImportRequest
from relay.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure, Throttled
from relay.model import Delivery, Json, Kind, Localized, Problem, Skipped, State, Succeeded
from relay.targets.contract import FunctionName

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=3)
WISH = ImportRequest(FunctionName("hello", "default"), "skip", NOW)
DONE = Succeeded({})


def delivery(state: State = State.PENDING, due: datetime | None = NOW, tries: int = 0) -> Delivery:
    problem = (
        Problem("x.503", Localized("It is tired", "它累了"), Localized("", "")) if tries else None
    )
    return Delivery(
        "d1",
        Kind.IMPORT,
        state,
        *("exports", "exports#1", "exports", "a.zip", "prod"),
        created=NOW,
        due=due,
        attempts=tries,
        error=problem,
    )


def target(state: str, since: datetime | None = None, until: datetime | None = None) -> Json:
    return {"name": "prod", "kind": "x", "state": state, "since": since, "until": until}


@pytest.mark.parametrize(
    ("state", "ends"),
    [("paused", "when it is resumed:"), ("down", "when it answers again, or is resumed:")],
)
def test_what_a_person_or_the_target_must_end_is_not_waited_for(state: str, ends: str) -> None:
    wait = why(delivery(tries=1, due=LATER), target(state, since=NOW), NOW)
    assert wait.idle
    assert f"prod is {state}, since 2026-11-24 08:30:00Z" in wait.words
    assert ends in wait.words
    assert "`relay resume prod`" in wait.words
    assert "`relay show d1`" in wait.words


def test_a_backoff_is_told_with_its_error_and_the_time_of_the_next_try() -> None:
    wait = why(delivery(due=LATER, tries=2), target("open"), NOW)
    assert not wait.idle
    assert wait.words == (
        "Attempt 2 failed: It is tired (x.503). Next: 2026-11-24 08:33:00Z (in 3 min)."
    )
    later = why(delivery(due=LATER, tries=2), target("open"), NOW + timedelta(seconds=1))
    assert later.about == wait.about, "it is told once"
    again = why(delivery(due=LATER + timedelta(hours=1), tries=3), target("open"), NOW)
    assert again.about != wait.about, "and again when it changed"


@pytest.mark.parametrize(
    ("waiting", "at", "words"),
    [
        (delivery(State.RUNNING), target("paused", since=NOW), "another process is importing it"),
        (delivery(), target("waiting", until=LATER), "asked to wait until 2026-11-24 08:33:00Z"),
        (delivery(due=LATER), target("open"), "is not due yet. Next: 2026-11-24 08:33:00Z"),
        (delivery(), target("open"), "waits for its turn at prod"),
        (delivery(), None, "waits for its turn at prod"),
    ],
    ids=["running", "asked", "not due", "turn", "unknown target"],
)
def test_everything_else_is_waited_for(waiting: Delivery, at: Json | None, words: str) -> None:
    wait = why(waiting, at, NOW)
    assert words in wait.words
    assert not wait.idle


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.slept: list[float] = []

    def patience(self) -> ForegroundRetry:
        rules = Backoff(attempts=3, first=timedelta(seconds=2), longest=timedelta(seconds=5))
        return ForegroundRetry(self.said.append, lambda: NOW, self.slept.append, rules)


def failing(*errors: Exception, wishes: list[ImportRequest] | None = None) -> Bring:
    """Raises them, one a try; then it is done."""
    left = list(errors)

    def bring(wish: ImportRequest) -> Succeeded | Skipped:
        if wishes is not None:
            wishes.append(wish)
        if left:
            raise left.pop(0)
        return DONE

    return bring


def tired(wait: float | None = None) -> TemporaryFailure:
    after = None if wait is None else timedelta(seconds=wait)
    return TemporaryFailure("x.503", "It is tired", "Relay tries again.", retry_after=after)


def test_a_temporary_failure_is_told_and_tried_again_after_a_while() -> None:
    clock, wishes = Clock(), list[ImportRequest]()
    bring = failing(tired(), OutcomeUnknown("x.lost", "The answer was lost"), wishes=wishes)
    assert clock.patience().bring(WISH, bring) is DONE
    first, second = clock.slept
    assert 1.8 <= first <= 2.2
    assert 4.5 <= second <= 5.5
    assert clock.said[0] == "Attempt 1 failed: It is tired (x.503). Relay tries again."
    assert clock.said[1].startswith("Attempt 2 of 3 in ")
    assert [wish.earlier for wish in wishes] == [False, True, True]


def test_who_asks_to_wait_is_waited_for() -> None:
    clock = Clock()
    assert clock.patience().bring(WISH, failing(tired(17), tired(0))) is DONE
    assert clock.slept == [17, 0]


@pytest.mark.parametrize(
    ("failure", "tries", "hint"),
    [
        (tired(), 3, "Tried 3 times. Run the command again later:"),
        (
            Throttled("x.429", "Slow down", "Relay waits.", retry_after=timedelta(hours=1)),
            1,
            "in 1 h",
        ),
    ],
    ids=["often", "too long"],
)
def test_when_it_gives_up_its_hint_is_true(
    failure: TemporaryFailure, tries: int, hint: str
) -> None:
    clock = Clock()
    with pytest.raises(TemporaryFailure) as raised:
        clock.patience().bring(WISH, failing(*[failure] * tries))
    assert hint in raised.value.hint.en
    assert raised.value.code == failure.code
    assert len(clock.slept) == tries - 1


def test_a_permanent_failure_is_not_tried_again() -> None:
    clock = Clock()
    with pytest.raises(PermanentFailure):
        clock.patience().bring(WISH, failing(PermanentFailure("x.401", "No")))
    assert (clock.slept, clock.said) == ([], [])
