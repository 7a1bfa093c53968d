"""Switches off a rule of Relay in a child process. Each mutant must fail the row that is named.

relay/ has no switch for this: the functions are replaced here, before the command starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import true

from relay.delivery.changes import RecordedChanges
from relay.intents import Intent, NewIntent
from relay.ledger import intents, outcomes, queue
from relay.ledger.ids import new_id
from relay.ledger.intents import Intents
from relay.model import Claim


@dataclass(frozen=True, slots=True)
class Mutant:
    """`row`: the scenario that must fail. `says`: a part of the violation."""

    row: str
    says: str
    install: Callable[[], None]


MUTANTS: dict[str, Mutant] = {}


def apply(name: str) -> None:
    """Switch the rule off in this process."""
    MUTANTS[name].install()


def mutant(name: str, *, row: str, says: str) -> Callable[[Callable[[], None]], None]:
    """Register the function that installs the mutant."""

    def register(install: Callable[[], None]) -> None:
        MUTANTS[name] = Mutant(row, says, install)

    return register


def _replace(owner: Any, name: str, value: Any) -> None:
    getattr(owner, name)  # Raises if it was renamed.
    setattr(owner, name, value)


@mutant("earlier = None", row="K5", says="I3")
def _() -> None:
    """The intents of earlier attempts are read neither for a claim nor before an outcome.

    Each of the two alone is covered by the other.
    """
    for reader in (queue, intents):
        _replace(reader, "load_intents", lambda *_: ())


@mutant("fence ignored", row="F2", says="I4")
def _() -> None:
    """An intent is recorded although another worker has taken the delivery over."""
    _replace(intents, "_RECORD", intents.record_statement(true()))


@mutant("intent not written", row="K5", says="I3")
def _() -> None:
    def record(
        _: Intents, claim: Claim, what: NewIntent, now: datetime, settles_after: timedelta
    ) -> Intent:
        return Intent(new_id(now), claim.delivery.id, what, now, now + settles_after)

    _replace(Intents, "record", record)


@mutant("lease not checked before the last chunk", row="F2", says="I4")
def _() -> None:
    _replace(RecordedChanges, "_check_lease", lambda _: None)


@mutant("a lost call is over when it was repeated", row="F2", says="I4")
def _() -> None:
    close = outcomes.close_confirmed

    def close_all(database: Any, connection: Any, delivery: Any, now: datetime) -> None:
        close(database, connection, replace(delivery, attempts=1), now)

    _replace(outcomes, "close_confirmed", close_all)
