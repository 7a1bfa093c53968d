"""What was heard of a destination: whether it answered, and what an error means for a delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from relay.archive.inspect import ArchiveReport
from relay.errors import (
    NameTaken,
    NotNeeded,
    PermanentFailure,
    PluginMissing,
    RelayError,
    TemporaryFailure,
    Throttled,
)
from relay.ledger import LedgerUnavailable
from relay.model import Failed, Json, Retry, Skipped
from relay.targets.contract import (
    Archive,
    ExistingFunction,
    FunctionName,
    ImportResult,
    Progress,
    Target,
)

T = TypeVar("T")


class RespondingTarget(Target):
    """A target as one delivery meets it; `answered`: whether it has, whatever it said."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.answered = False

    def check(self, order: FunctionName, report: ArchiveReport) -> None:
        """See Target.check."""
        self._target.check(order, report)

    def held(self, order: FunctionName) -> ExistingFunction | None:
        """See Target.held."""
        return self._hear(lambda: self._target.held(order))

    def create(self, order: FunctionName, archive: Archive, progress: Progress) -> ImportResult:
        """See Target.create."""
        return self._hear(lambda: self._target.create(order, archive, progress))

    def replace(self, held: ExistingFunction, archive: Archive, progress: Progress) -> ImportResult:
        """See Target.replace."""
        return self._hear(lambda: self._target.replace(held, archive, progress))

    def _hear(self, ask: Callable[[], T]) -> T:
        try:
            said = ask()
        except RelayError as error:
            self.answered |= is_answer(error)
            raise
        self.answered = True
        return said


def is_answer(error: RelayError) -> bool:
    """Whether an error is the destination's own word: a refusal, or that it has much to do.

    What refuses without an answer, such as our own guard of addresses, has asked nobody.
    """
    if isinstance(error, PermanentFailure):
        return isinstance(error, NameTaken) or error.answer is not None
    return isinstance(error, Throttled)


def outcome_of(error: RelayError, about: Json) -> Skipped | Failed | Retry:
    """What an error of the tree means for a delivery; `about` names what it was about.

    A ledger or a plug-in that is not there makes it no try: the destination has no part in that.
    """
    match error:
        case NotNeeded():
            return Skipped(error.reason, {**about, "words": error.message._asdict()})
        case TemporaryFailure():
            counts = not isinstance(error, PluginMissing | LedgerUnavailable)
            after, hold = error.retry_after, isinstance(error, Throttled)
            return Retry(error.problem, after, hold, error.answer, about, counts=counts)
        case _:
            return Failed(error.problem, error.answer, about)


def outcome_at(error: RelayError, about: Json, *, answered: bool) -> Skipped | Failed | Retry:
    """The same for an error while the destination was called: a failure that is neither the
    object store's nor the ledger's is its own."""
    others = isinstance(error, Throttled | LedgerUnavailable) or getattr(error, "at_source", False)
    unwell = isinstance(error, TemporaryFailure) and not others
    return replace(outcome_of(error, about), reached=answered, unwell=unwell)
