"""Quiet hours and digests: decides whether a claimed message is posted, postponed or merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, and_, select, update

from relay.config.load import ChannelSettings
from relay.ledger import batching_rules as rules
from relay.ledger.database import Database, LedgerPart
from relay.ledger.destinations import GateRow
from relay.ledger.ids import new_id
from relay.ledger.message_order import message_row, newer_message, replaced_values
from relay.ledger.queue import holds_claim, pending_values, undo_claim
from relay.ledger.rows import AnyRow
from relay.ledger.schema import MESSAGE_ATTEMPT, PENDING, RUNNING, attempts, deliveries
from relay.ledger.values import WaitReason
from relay.model import (
    AttemptOutcome,
    Claim,
    Json,
    Kind,
    NewMessage,
    Problem,
    State,
    Trigger,
)

MAX_MESSAGES = 1000
"""Messages in a digest, and messages that are postponed together."""

PostDecision = Literal["post", "wait", "digest", "replaced", "lost"]

Compose = Callable[[str, Sequence[tuple[datetime, Json]]], Json]
"""Composes the body of a digest from an id and the merged messages: when each was created, and the
message as {"type", "body"}."""

_IS_DIGEST = deliveries.c.message_type == "digest"

_FAILURES = (
    AttemptOutcome.RETRY,
    AttemptOutcome.LOST,
    AttemptOutcome.HUNG,
    AttemptOutcome.RELEASED,
)
"""Outcomes that suggest that the chat service has problems."""


class MessageBatching(LedgerPart):
    """Limits when and how often a channel receives messages."""

    def decide_post(
        self, claim: Claim, channel: ChannelSettings, compose: Compose, now: datetime
    ) -> PostDecision:
        """Decide what to do with a claimed message, atomically.

        "post": the claim holds, and the message may be posted. "wait": quiet hours, or `burst`
        messages within a minute; the claim is undone, and the message says why it waits.
        "digest": this message and up to 999 waiting ones are merged into a new message and skipped.
        "replaced": a newer message about the same subject was stored since the claim; this one is
        ended. "lost": the claim no longer holds the delivery.
        """
        message = claim.delivery.message
        respects_quiet_hours = channel.quiet_hours and claim.delivery.trigger != Trigger.MANUAL
        if not message or not rules.is_batchable(message["type"]):
            return "post"
        if not channel.burst and not respects_quiet_hours:
            return "post"

        def write(connection: Connection) -> PostDecision:
            self._database.advisory_lock(connection, "quiet", claim.delivery.destination)
            if not holds_claim(connection, claim):
                return "lost"
            quiet_end = rules.quiet_until(channel, now) if respects_quiet_hours else None
            batch = _Batch(self._database, connection, claim, channel, now)
            return batch.decide(message, quiet_end, compose)

        return self._database.write_grouped(write)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A claimed message and those that wait for the same channel, in a transaction.

    Manual messages are counted separately: automatic ones neither delay them nor absorb them.
    """

    database: Database
    connection: Connection
    claim: Claim
    channel: ChannelSettings
    now: datetime

    def decide(self, message: Json, quiet_end: datetime | None, compose: Compose) -> PostDecision:
        delivery = self.claim.delivery
        if delivery.trigger == Trigger.AUTOMATIC:
            newer = newer_message(self.connection, delivery.id)
            if newer:
                is_ended = self._undo_claim(**replaced_values(self.now, newer))
                return "replaced" if is_ended else "lost"
        if quiet_end and not rules.is_urgent(message, self.channel):
            return self._wait_for_quiet_end(quiet_end)
        burst = self.channel.burst
        if not burst:
            return "post"
        recent = self._recent_posts()
        free_slot = rules.next_free_slot(recent, burst, self.now)
        if free_slot:
            return self._wait_for_slot(free_slot)
        # A digest is never merged, so that a repeat posts the same content under the same id. While
        # the service has problems, single messages probe it: a digest could only fail too.
        if message["type"] == "digest" or not recent.working:
            return "post"
        waiting = self._mergeable(quiet_end)
        if not rules.should_batch(recent, burst, len(waiting)):
            return "post"
        return self._merge(waiting, compose)

    def _mergeable(self, quiet_end: datetime | None) -> Sequence[AnyRow]:
        """Return the waiting messages for a digest; during quiet hours only the urgent ones."""
        is_about_delivery = deliveries.c.parent.is_not(None)
        if quiet_end is None:
            return self._waiting(is_about_delivery)
        rows = self._waiting(is_about_delivery, deliveries.c.due < quiet_end)
        return [row for row in rows if rules.is_urgent(row.message, self.channel)]

    def _wait_for_quiet_end(self, quiet_end: datetime) -> PostDecision:
        """Postpone this message and the waiting ones, so that they are claimed only once."""
        problem = rules.quiet_hours_problem(self.channel, quiet_end)
        if not self._postpone(quiet_end, problem, WaitReason.QUIET_HOURS):
            return "lost"
        ids = [
            row.id
            for row in self._waiting(deliveries.c.due < quiet_end)
            if rules.is_batchable(row.message["type"])
            and not rules.is_urgent(row.message, self.channel)
        ]
        waits = {"due": quiet_end, "wait_reason": WaitReason.QUIET_HOURS}
        self._update(ids, **waits, error=problem.to_json())
        return "wait"

    def _wait_for_slot(self, free_slot: datetime) -> PostDecision:
        problem = rules.burst_problem(self.channel, free_slot)
        if not self._postpone(free_slot, problem, WaitReason.RATE):
            return "lost"
        self._gate.hold(free_slot)
        return "wait"

    def _merge(self, waiting: Sequence[AnyRow], compose: Compose) -> PostDecision:
        delivery = self.claim.delivery
        digest_id = new_id(self.now)
        skipped = {
            "state": State.SKIPPED,
            "reason": "digest",
            "result": {"digest": digest_id},
            "error": None,
            "due": None,
            "finished": self.now,
        }
        if not self._undo_claim(**skipped, owner=None, leased_until=None):
            return "lost"
        self._update([row.id for row in waiting], **skipped)
        merged: list[Any] = [delivery, *waiting]
        messages = [(source.created, source.message) for source in merged]
        new = NewMessage(delivery.destination, "digest", compose(digest_id, messages))
        # Due before the oldest merged message, so that it is posted before other waiting ones.
        oldest = min(filter(None, (self.now, delivery.due, *(row.due for row in waiting))))
        row = message_row(new, self.now)
        row |= {
            "id": digest_id,
            "due": oldest - timedelta.resolution,
            "trigger": delivery.trigger,
        }
        self.connection.execute(deliveries.insert(), row)
        self.database.notify_workers(self.connection)
        return "digest"

    def _postpone(self, due: datetime, problem: Problem, reason: WaitReason) -> bool:
        waits = {"wait_reason": reason, "error": problem.to_json()}
        return self._undo_claim(**pending_values(due), **waits)

    def _undo_claim(self, **values: object) -> bool:
        if not undo_claim(self.connection, self.claim, **values):
            return False
        if self.channel.rate:
            self._gate.refund(self.channel.rate)
        return True

    def _update(self, ids: Sequence[str], **values: object) -> None:
        if ids:
            statement = update(deliveries).where(deliveries.c.id.in_(ids))
            self.connection.execute(statement.values(**values))

    def _waiting(self, *conditions: Any) -> Sequence[AnyRow]:
        """Lock and return the other pending messages of the channel, oldest first."""
        columns = (deliveries.c[name] for name in ("id", "created", "due", "message"))
        return self.connection.execute(
            select(*columns)
            .where(PENDING, *self._of_channel, *conditions)
            .order_by(deliveries.c.due, deliveries.c.id)
            .limit(MAX_MESSAGES - 1)
            .with_for_update(skip_locked=True)
        ).all()

    def _recent_posts(self) -> rules.RecentPosts:
        last_minute = (
            select(attempts.c.finished, _IS_DIGEST.label("digest"))
            .join(deliveries, deliveries.c.id == attempts.c.delivery_id)
            .where(
                self._is_attempt_of_channel,
                attempts.c.finished > self.now - rules.MINUTE,
                attempts.c.outcome == AttemptOutcome.SUCCEEDED,
                attempts.c.trigger == self.claim.delivery.trigger,
            )
            .order_by(attempts.c.finished.desc())
            .limit(MAX_MESSAGES)
        )
        posts = self.connection.execute(last_minute).all()
        query = select(_IS_DIGEST.label("digest")).where(
            RUNNING,
            *self._of_channel,
            deliveries.c.id != self.claim.delivery.id,
            deliveries.c.leased_until > self.now,
        )
        running = self.connection.execute(query).all()
        return rules.RecentPosts(
            posted=[row.finished for row in posts],
            digest=next((row.finished for row in posts if row.digest), None),
            under_way=len(running),
            digest_under_way=any(row.digest for row in running),
            working=self._last_outcome() not in _FAILURES,
        )

    def _last_outcome(self) -> AttemptOutcome | None:
        """Return the outcome of the last attempt; of simultaneous ones, a success wins."""
        query = select(attempts.c.outcome).where(self._is_attempt_of_channel)
        last = query.order_by(attempts.c.finished.desc(), attempts.c.outcome.desc()).limit(1)
        return self.connection.execute(last).scalar()

    @property
    def _is_attempt_of_channel(self) -> Any:
        """The condition for finished attempts at the channel.

        Excludes times in the far future, which remain after the clock was set back: such attempts
        would count as recent for all that time.
        """
        of_channel = attempts.c.destination == self.claim.delivery.destination
        return and_(MESSAGE_ATTEMPT, of_channel, attempts.c.finished <= self.now + rules.MINUTE)

    @property
    def _of_channel(self) -> tuple[Any, ...]:
        delivery = self.claim.delivery
        return (
            deliveries.c.kind == Kind.MESSAGE,
            deliveries.c.destination == delivery.destination,
            deliveries.c.trigger == delivery.trigger,
        )

    @property
    def _gate(self) -> GateRow:
        destination = Kind.MESSAGE, self.claim.delivery.destination
        return GateRow(self.database, self.connection, destination)
