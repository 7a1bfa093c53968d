"""Quiet: before a message is posted, what waits beside it decides whether it waits or is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, and_, delete, select, update

from relay.config.load import ChannelSettings
from relay.ledger import batching_rules as quiet
from relay.ledger.database import Database, LedgerPart
from relay.ledger.destinations import GateRow
from relay.ledger.ids import new_id
from relay.ledger.outcomes import standalone_message_row
from relay.ledger.queue import change, idle, is_ours
from relay.ledger.rows import AnyRow
from relay.ledger.schema import PENDING, RUNNING, TELLING, attempts, deliveries
from relay.model import AttemptOutcome, Claim, Json, Kind, NewMessage, Problem, State, Trigger

MOST = 1000
"""Messages that are told in one, or moved at once."""

PostDecision = Literal["post", "wait", "digest", "lost"]

Compose = Callable[[str, Sequence[tuple[datetime, Json]]], Json]
"""Makes the body of a digest from its id and the messages in it: when each was made, and what it is
as {"type", "body"}."""

_IS_DIGEST = deliveries.c.message_type == "digest"

_TROUBLED = (
    AttemptOutcome.RETRY,
    AttemptOutcome.LOST,
    AttemptOutcome.HUNG,
    AttemptOutcome.RELEASED,
)


class MessageBatching(LedgerPart):
    """When channels are told, and how much at once."""

    def decide_post(
        self, claim: Claim, channel: ChannelSettings, compose: Compose, now: datetime
    ) -> PostDecision:
        """What to do with a claimed message; only when it is "post" the claim still holds.

        "wait": its channel has quiet hours, or was told `burst` messages within a minute; it is
        pending as if it had not been claimed, and says why. "digest": it, and what waits with it
        (1,000 at the most), are told in one new message, and have ended. "lost": it is not the
        claim's any more. Whatever it is, it happened in one transaction.
        """
        manual = claim.delivery.trigger is Trigger.MANUAL
        asleep = channel.quiet_hours and not manual
        told = claim.delivery.message
        if not told or not quiet.is_batchable(told["type"]):
            return "post"
        if not channel.burst and not asleep:
            return "post"

        def write(connection: Connection) -> PostDecision:
            self._database.advisory_lock(connection, "quiet", claim.delivery.destination)
            if not is_ours(connection, claim):
                return "lost"
            ends = quiet.quiet_until(channel, now) if asleep else None
            return _Turn(self._database, connection, claim, channel, now).say(ends, compose)

        return self._database.write_grouped(write)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One message's turn, in a transaction. What people retriggered is counted by itself: it is
    held neither up nor together with what came by itself."""

    database: Database
    connection: Connection
    claim: Claim
    channel: ChannelSettings
    now: datetime

    def say(self, ends: datetime | None, compose: Compose) -> PostDecision:
        told: Json = self.claim.delivery.message or {}
        if ends and not quiet.is_urgent(told, self.channel):
            return self._sleep(ends)
        burst = self.channel.burst
        if not burst:
            return "post"
        lately = self._lately()
        until = quiet.next_free_slot(lately, burst, self.now)
        if until:
            return self._hold(until)
        # A digest stays what it is, so that a repeat says the same under the same id. And while
        # the service is in trouble, one message at a time tries it: a digest could only fail too.
        if told["type"] == "digest" or not lately.working:
            return "post"
        others = self._others(ends)
        if not quiet.should_batch(lately, burst, len(others)):
            return "post"
        return self._gather(others, compose)

    def _others(self, ends: datetime | None) -> Sequence[AnyRow]:
        """What could be told with it; in quiet hours what is urgent of it."""
        single = deliveries.c.parent.is_not(None)
        if ends is None:
            return self._waiting(single)
        awake = self._waiting(single, deliveries.c.due < ends)
        return [row for row in awake if quiet.is_urgent(row.message, self.channel)]

    def _sleep(self, ends: datetime) -> PostDecision:
        """Moves it to the end of quiet hours, and what waits beside it too: one claim for all."""
        problem = quiet.in_quiet_hours(self.channel, ends)
        if not self._put_back(ends, problem):
            return "lost"
        asleep = [
            row.id
            for row in self._waiting(deliveries.c.due < ends)
            if quiet.is_batchable(row.message["type"])
            and not quiet.is_urgent(row.message, self.channel)
        ]
        self._change(asleep, due=ends, error=problem.to_json())
        return "wait"

    def _hold(self, until: datetime) -> PostDecision:
        if not self._put_back(until, quiet.among_many(self.channel, until)):
            return "lost"
        self._gate.hold(until)
        return "wait"

    def _gather(self, others: Sequence[AnyRow], compose: Compose) -> PostDecision:
        mine = self.claim.delivery
        id_ = new_id(self.now)
        ended = {
            "state": State.SKIPPED,
            "reason": "digest",
            "result": {"digest": id_},
            "error": None,
            "due": None,
            "finished": self.now,
        }
        if not self._give_up(**ended, owner=None, leased_until=None):
            return "lost"
        self._change([row.id for row in others], **ended)
        told = [(mine.created, mine.message), *((row.created, row.message) for row in others)]
        new = NewMessage(mine.destination, "digest", compose(id_, told))
        # Due before its first one was: it is posted before what else waits.
        first = min(filter(None, (self.now, mine.due, *(row.due for row in others))))
        row = standalone_message_row(new, self.now)
        row |= {"id": id_, "due": first - timedelta.resolution, "trigger": mine.trigger}
        self.connection.execute(deliveries.insert(), row)
        self.database.notify_workers(self.connection)
        return "digest"

    def _put_back(self, due: datetime, problem: Problem) -> bool:
        return self._give_up(**idle(due), error=problem.to_json())

    def _give_up(self, **values: object) -> bool:
        """Ends the claim as if it had never been: no attempt is kept, and none counted."""
        uncounted = {"attempts": deliveries.c.attempts - 1, "tries": deliveries.c.tries - 1}
        if not change(self.connection, self.claim, **uncounted, **values):
            return False
        mine = self.claim.delivery
        its = attempts.c.delivery_id == mine.id, attempts.c.number == mine.attempts
        self.connection.execute(delete(attempts).where(*its))
        if self.channel.rate:
            self._gate.give_back(self.channel.rate)
        return True

    def _change(self, ids: Sequence[str], **values: object) -> None:
        if ids:
            these = deliveries.c.id.in_(ids)
            self.connection.execute(update(deliveries).where(these).values(**values))

    def _waiting(self, *where: Any) -> Sequence[AnyRow]:
        """Other messages that wait for the channel, those due longest first, and kept for us."""
        columns = (deliveries.c[name] for name in ("id", "created", "due", "message"))
        return self.connection.execute(
            select(*columns)
            .where(PENDING, *self._here, *where)
            .order_by(deliveries.c.due, deliveries.c.id)
            .limit(MOST - 1)
            .with_for_update(skip_locked=True)
        ).all()

    def _lately(self) -> quiet.RecentPosts:
        posts = self._posts()
        query = select(_IS_DIGEST.label("digest")).where(
            RUNNING,
            *self._here,
            deliveries.c.id != self.claim.delivery.id,
            deliveries.c.leased_until > self.now,
        )
        under_way = self.connection.execute(query).all()
        return quiet.RecentPosts(
            posted=[row.finished for row in posts],
            digest=next((row.finished for row in posts if row.digest), None),
            under_way=len(under_way),
            digest_under_way=any(row.digest for row in under_way),
            working=self._last_outcome() not in _TROUBLED,
        )

    def _posts(self) -> Sequence[AnyRow]:
        query = (
            select(attempts.c.finished, _IS_DIGEST.label("digest"))
            .join(deliveries, deliveries.c.id == attempts.c.delivery_id)
            .where(
                self._attempted,
                attempts.c.finished > self.now - quiet.MINUTE,
                attempts.c.outcome == AttemptOutcome.SUCCEEDED,
                attempts.c.trigger == self.claim.delivery.trigger,
            )
        )
        newest_first = query.order_by(attempts.c.finished.desc()).limit(MOST)
        return list(self.connection.execute(newest_first))

    def _last_outcome(self) -> AttemptOutcome | None:
        """What came of the last attempt to post there; of those at one moment a success wins."""
        query = select(attempts.c.outcome).where(self._attempted)
        last = query.order_by(attempts.c.finished.desc(), attempts.c.outcome.desc()).limit(1)
        return self.connection.execute(last).scalar()

    @property
    def _attempted(self) -> Any:
        """The finished attempts to post there; not what a clock that was turned back since dated
        far ahead, or it would be lately for as long."""
        destination = attempts.c.destination == self.claim.delivery.destination
        return and_(TELLING, destination, attempts.c.finished <= self.now + quiet.MINUTE)

    @property
    def _here(self) -> tuple[Any, ...]:
        mine = self.claim.delivery
        return (
            deliveries.c.kind == Kind.MESSAGE,
            deliveries.c.destination == mine.destination,
            deliveries.c.trigger == mine.trigger,
        )

    @property
    def _gate(self) -> GateRow:
        return GateRow(
            self.database, self.connection, (Kind.MESSAGE, self.claim.delivery.destination)
        )
