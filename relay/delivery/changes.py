"""Records the calls of an import that change the target, and compares what the target holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from relay.archive.inspect import ArchiveReport
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

_WESTERNMOST = timedelta(hours=12)
"""How far the local time of a zone is behind UTC."""

_ZONES_DIFFER_BY = timedelta(minutes=30)
_LONGEST_CALL = timedelta(minutes=2)
_ROUNDING = timedelta(seconds=1)


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
    attempts included, may have changed. `name_was_free`, `digest_before` and `is_exact`: set before
    a call, see NewIntent.
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
        self.digest_before: str | None = None
        self.is_exact: bool | None = None
        self._clock = clock
        self.send_within = timing.send_within
        self._settles_after = timing.settles_after
        self._current: dict[Change, int] = {}

    @property
    def effect(self) -> list[str]:
        """The parts of the function that this delivery has changed, or may have."""
        return effect_of(self.intents, *MADE, IntentState.OPEN)

    @property
    def certain_effect(self) -> list[str]:
        """The parts of the function that this delivery has certainly changed."""
        return effect_of(self.intents, *MADE)

    def has_applied(self, digest: str) -> bool:
        """Whether this delivery has certainly written the code with this SHA-512 (hex)."""
        return any(
            intent.is_applied and intent.what is not None and intent.what.digest == digest
            for intent in self.intents
        )

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
            self.digest_before,
            self.is_exact,
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
    """The digest does not tell, but all else speaks for it; see CodeComparison.match."""
    OTHER = "other"
    UNKNOWN = "unknown"


class CodeComparison:
    """Compares the code of functions at a target, which may report other digests than SHA-512.

    `code_type`: the type of the archive's code, such as "inline"; a target may have a rule for
    each. `is_exact`: the target is known to report the SHA-512 of such code.
    """

    def __init__(
        self, digests: TargetDigests, destination: str, code_type: str | None = None
    ) -> None:
        self._digests = digests
        self._destination = destination
        self._code_type = code_type
        self.is_exact = code_type is not None and digests.reports_sha512(destination, code_type)

    def for_archive(self, report: ArchiveReport) -> CodeComparison:
        """Return the comparison for the code of an archive."""
        properties = report.export.properties if report.export else {}
        code_type = str(properties.get("CodeType") or "").lower()
        return CodeComparison(self._digests, self._destination, code_type)

    def known_digest(self, digest: str) -> str | None:
        """Return the digest that the target reports for code with this SHA-512 (hex), if known."""
        if self.is_exact:
            return digest.lower()
        return self._digests.find(self._destination, digest) if digest else None

    def has_digest(self, existing: ExistingFunction, digest: str) -> bool:
        """Return whether the function has the code with this SHA-512 (hex)."""
        if existing.digest is None or not digest:
            return False
        reported = existing.digest.lower()
        return reported == digest.lower() or reported == self.known_digest(digest)

    def learn(self, digest: str, reported: str) -> None:
        """Store which digest the target reports for code with this SHA-512 (hex)."""
        if digest.lower() == reported.lower():
            if not self.is_exact and self._code_type is not None:
                self._digests.confirm_sha512(self._destination, self._code_type)
        elif self.is_exact and self._code_type is not None:
            self._digests.refute_sha512(self._destination, self._code_type)
        else:
            self._digests.remember(self._destination, digest, reported)

    def match(self, existing: ExistingFunction | None, intent: Intent) -> Match:
        """Compare a function with the code that was about to be written.

        Where the digest does not tell: a function that was created under a name which was free,
        with the same size and changed since, is the same; so is one of the same size whose digest
        has changed since an update.
        """
        what = intent.what
        if existing is None or what is None or what.call is ChangeCall.UPDATE_CONFIGURATION:
            return Match.OTHER
        if self.has_digest(existing, what.digest):
            return Match.SAME
        is_comparable = bool(what.digest and existing.digest)
        if is_comparable and (what.is_exact or self.is_exact):
            return Match.OTHER
        is_update = what.call is ChangeCall.UPDATE_CODE
        if is_update and what.digest_before and existing.digest == what.digest_before:
            return Match.OTHER
        if what.digest and None in (what.size, existing.code_size):
            return Match.UNKNOWN
        is_same_size = not what.digest or existing.code_size == what.size
        if is_update:
            return Match.PROBABLY if what.digest_before and is_same_size else Match.UNKNOWN
        if not is_same_size:
            return Match.OTHER
        is_new = what.name_was_free and _may_be_later(existing.modified, intent.recorded)
        return Match.PROBABLY if is_new else Match.UNKNOWN


def _may_be_later(modified: str | None, recorded: datetime) -> bool:
    """Return whether a function was changed after a moment, as far as its time can be read.

    A time without a zone may be that of any zone.
    """
    time = _time(modified)
    if time is None:
        return True
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC) + _WESTERNMOST
    return time > recorded - _CLOCK_DIFFERENCE


def was_changed_by_call(existing: ExistingFunction, intent: Intent) -> bool:
    """Return whether a function was changed just when a call was made, in any time zone."""
    time = _time(existing.modified)
    if time is None:
        return False
    since = time.replace(tzinfo=time.tzinfo or UTC) - intent.recorded + _ROUNDING
    if time.tzinfo is None:
        since %= _ZONES_DIFFER_BY
    return timedelta(0) <= since <= _LONGEST_CALL


def _time(modified: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(modified or "")
    except ValueError:
        return None
