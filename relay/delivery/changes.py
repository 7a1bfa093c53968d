"""Records the calls of an import that change the target, and compares what the target holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from relay.config.load import Settings
from relay.delivery.run import LeaseLost
from relay.intents import MADE, ChangeCall, Intent, IntentState, NewIntent
from relay.ledger.intents import Intents
from relay.ledger.target_digests import TargetDigests
from relay.model import Claim
from relay.targets.changes import Change, ChangeGuard
from relay.targets.contract import ExistingFunction

_CLOCK_DIFFERENCE = timedelta(minutes=15)
"""How far the target's clock may be behind: signed requests allow the same."""


@dataclass(frozen=True, slots=True)
class CallTiming:
    """`response`: seconds within which the target responds after the last byte. `lease`: that of
    a delivery, in seconds."""

    response: float
    lease: float

    @property
    def send_within(self) -> float:
        return min(ChangeGuard.send_within, self.lease / 4)

    @property
    def settles_after(self) -> timedelta:
        """The time after which a call that was recorded now can no longer take effect."""
        return timedelta(seconds=self.send_within + self.response)


def call_timing(settings: Settings) -> CallTiming:
    """Return the timing of a configuration."""
    return CallTiming(
        settings.outbound.read_timeout.total_seconds(), settings.delivery.lease.total_seconds()
    )


DEFAULT_TIMING = call_timing(Settings())


_PARTS = {
    "code": {ChangeCall.CREATE, ChangeCall.UPDATE_CODE},
    "configuration": {ChangeCall.CREATE, ChangeCall.UPDATE_CONFIGURATION},
}


def effect_of(intents: Iterable[Intent], *states: IntentState) -> list[str]:
    """Return the parts of the function, "code" and "configuration", with intents in `states`."""
    calls = {intent.what.call for intent in intents if intent.what and intent.state in states}
    return [part for part, changing in _PARTS.items() if calls & changing]


class ImportChanges(ChangeGuard):
    """The calls of the import of a file, which no ledger records.

    `function`: the name that orders the imports. `intents`: what the calls so far, those of earlier
    attempts included, may have changed. `name_was_free`: set before `create`, see NewIntent.
    """

    def __init__(
        self,
        function: str,
        clock: Callable[[], datetime],
        timing: CallTiming = DEFAULT_TIMING,
        intents: Iterable[Intent] = (),
    ) -> None:
        self.function = function
        self.intents = list(intents)
        self.name_was_free = False
        self._clock = clock
        self.send_within = timing.send_within
        self._settles_after = timing.settles_after
        self._current: dict[Change, int] = {}

    @property
    def effect(self) -> list[str]:
        """The parts of the function that this delivery has changed, or may have."""
        return effect_of(self.intents, *MADE, IntentState.OPEN)

    @property
    def may_have_changed(self) -> bool:
        """Whether a call of this delivery has changed the target, or may have."""
        return any(intent.is_open or intent.is_applied for intent in self.intents)

    def release(self, change: Change) -> None:
        what = NewIntent(
            change.call,
            self.function,
            change.function.func_name,
            change.function.package,
            change.digest(),
            change.size,
            self.name_was_free,
        )
        self._current[change] = len(self.intents)
        self.intents.append(self._record(what))

    def close(self, change: Change, state: IntentState) -> None:
        index = self._current[change]
        intent = self.intents[index]
        self.intents[index] = replace(intent, state=state)
        self._store_closed(intent, state)

    def latest(self) -> Intent | None:
        """Return the intent of the last call, if it is open."""
        latest = self.intents[-1] if self.intents else None
        return latest if latest is not None and latest.is_open else None

    def _record(self, what: NewIntent) -> Intent:
        now = self._clock()
        return Intent("", "", what, now, now + self._settles_after)

    def _store_closed(self, intent: Intent, state: IntentState) -> None:
        """Store the state."""


class RecordedChanges(ImportChanges):
    """The calls of a delivery: recorded in the ledger, and only made while the lease lasts.

    `lease_left` returns the seconds for which this worker certainly holds the delivery.
    """

    def __init__(
        self,
        ledger_intents: Intents,
        claim: Claim,
        function: str,
        clock: Callable[[], datetime],
        timing: CallTiming,
        lease_left: Callable[[], float],
    ) -> None:
        super().__init__(function, clock, timing, claim.intents)
        self._ledger_intents = ledger_intents
        self._claim = claim
        self._lease_left = lease_left

    def release(self, change: Change) -> None:
        self._check_lease()
        super().release(change)
        try:
            self._check_lease()
        except LeaseLost:
            self.close(change, IntentState.NEVER_SENT)
            raise

    def _check_lease(self) -> None:
        if self._lease_left() <= self.send_within:
            raise LeaseLost

    def _record(self, what: NewIntent) -> Intent:
        intent = self._ledger_intents.record(self._claim, what, self._clock(), self._settles_after)
        if intent is None:
            raise LeaseLost
        return intent

    def _store_closed(self, intent: Intent, state: IntentState) -> None:
        self._ledger_intents.close([intent], state, self._clock())


class Match(StrEnum):
    """Whether a function has the code that a call was about to write."""

    SAME = "same"
    PROBABLY = "probably"
    """The size is equal, the name was free before, and the function was changed since."""
    OTHER = "other"


class CodeComparison:
    """Compares the code of functions at a target, which may report other digests than SHA-512."""

    def __init__(self, digests: TargetDigests, destination: str) -> None:
        self._digests = digests
        self._destination = destination

    @property
    def only_sha512(self) -> bool:
        """Whether the target is known to report the SHA-512 of the code."""
        return self._digests.reports_sha512(self._destination)

    def has_digest(self, existing: ExistingFunction, digest: str) -> bool:
        """Return whether the function has the code with this SHA-512 (hex)."""
        if existing.digest is None or not digest:
            return False
        reported, ours = existing.digest.lower(), digest.lower()
        return reported == ours or reported == self._digests.find(self._destination, ours)

    def match(self, existing: ExistingFunction | None, intent: Intent) -> Match:
        """Compare a function with the code that was about to be written."""
        what = intent.what
        if existing is None or what is None or what.call is ChangeCall.UPDATE_CONFIGURATION:
            return Match.OTHER
        if self.has_digest(existing, what.digest):
            return Match.SAME
        is_same_size = what.size is not None and existing.code_size == what.size
        if (
            what.call is ChangeCall.CREATE
            and what.name_was_free
            and (is_same_size or not what.digest)
            and not (what.digest and self.only_sha512)
            and _may_be_later(existing.modified, intent.recorded)
        ):
            return Match.PROBABLY
        return Match.OTHER


def _may_be_later(modified: str | None, recorded: datetime) -> bool:
    """Return whether a function was changed after a moment, as far as its time can be read."""
    try:
        time = datetime.fromisoformat(modified or "")
    except ValueError:
        return True
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)  # or earlier, if it is Beijing time
    return time > recorded - _CLOCK_DIFFERENCE
