"""Retriggers deliveries on request of a person."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from relay.ledger.database import LedgerPart
from relay.ledger.errors import Conflict, NotFound
from relay.ledger.rows import AnyRow, to_delivery
from relay.ledger.schema import deliveries, idempotency
from relay.model import Delivery, Json, Kind, Localized, State, Trigger


class Retriggers(LedgerPart):
    """Starts new runs of deliveries."""

    def retrigger(
        self,
        delivery_id: str,
        now: datetime,
        *,
        options: Json | None = None,
        key: str | None = None,
        by: str | None = None,
        expected_attempts: int | None = None,
        overwrites_newer: bool = True,
    ) -> Delivery:
        """Make a delivery due now: a finished delivery in a new run, a pending delivery at once.

        The delivery has all its attempts and all its time again.

        `options` override those of the delivery. A repeated `key` (Idempotency-Key) changes nothing
        and returns the delivery. `by`: the requester. `expected_attempts`: only retrigger a
        finished delivery that has had this many attempts. `overwrites_newer`: an import is run
        even if a newer upload is in the function by then; False: as in an automatic run, it is not.
        Raises NotFound, or Conflict if it is running, has no destination, the key was used for
        another delivery, or the attempts differ (delivery.tried_since).
        """
        with self._database.write() as connection:
            self._database.advisory_lock(connection, "retrigger", delivery_id)
            this = deliveries.c.id == delivery_id
            query = select(deliveries).where(this)
            row = connection.execute(query.with_for_update()).first()
            if row is None:
                raise _not_found(delivery_id)
            if key is not None and not self._store_key(connection, key, delivery_id, now):
                return to_delivery(row)
            if expected_attempts is not None:
                _require_attempts(row, expected_attempts)
            is_automatic = row.kind == Kind.IMPORT and not overwrites_newer
            trigger = Trigger.AUTOMATIC if is_automatic else Trigger.MANUAL
            values = _restart(row, now, trigger) | {
                "options": {**row.options, **(options or {})},
                "by": by,
            }
            if options:  # other options may lead to another function: unknown until the next claim
                values["function"] = None
            connection.execute(update(deliveries).where(this).values(**values))
            self._database.notify_workers(connection)
            return to_delivery(connection.execute(query).one())

    def _store_key(self, connection: Connection, key: str, delivery_id: str, now: datetime) -> bool:
        """Return whether the key is new."""
        row = {"key": key, "delivery_id": delivery_id, "created": now}
        if self._database.insert_new(connection, idempotency, row):
            return True
        query = select(idempotency.c.delivery_id).where(idempotency.c.key == key)
        if connection.execute(query).scalar_one() != delivery_id:
            raise Conflict(
                "idempotency.reused",
                Localized(
                    "This Idempotency-Key was used for another delivery",
                    "该 Idempotency-Key 已用于另一个投递",
                ),
                Localized("Send a new key with each new request.", "每个新请求请使用新的 key。"),
            )
        return False


def _require_attempts(row: AnyRow, expected: int) -> None:
    if row.state.finished and row.attempts == expected:
        return
    raise Conflict(
        "delivery.tried_since",
        Localized(
            "It has been tried again since the message was written",
            "该消息发出之后，此投递已被重新触发",
        ),
        Localized("The delivery's page shows the result.", "结果请查看该投递的页面。"),
    )


def _restart(row: AnyRow, now: datetime, trigger: Trigger) -> dict[str, Any]:
    if row.state == State.RUNNING:
        raise Conflict(
            "delivery.running",
            Localized("The delivery is running now", "该投递正在进行中"),
            Localized("Wait until it ends, then try again.", "请等待其结束后再试。"),
        )
    if not row.destination:
        raise Conflict(
            "delivery.no_route",
            Localized(
                "The delivery has no destination: no route matches it",
                "没有匹配的路由，该投递没有目标",
            ),
            Localized(
                "Add a route for it, then submit the object.", "请先添加路由，然后提交该对象。"
            ),
        )
    if row.state == State.PENDING:
        return {"due": now, "trigger": trigger, **_new_budget(now)}
    return new_run(row.run, now, trigger) | {"revived": False}


def new_run(last: int, now: datetime, trigger: Trigger) -> dict[str, Any]:
    """Return the values of a finished delivery in a new run, due now; `last`: the last run."""
    new = {"state": State.PENDING, "run": last + 1, "due": now, "trigger": trigger}
    cleared = dict.fromkeys(("finished", "reason", "error", "result", "by", "gave_up"))
    return {**new, **_new_budget(now), **cleared}


def _new_budget(now: datetime) -> dict[str, Any]:
    return {"tries": 0, "waits": 0, "budget_from": now}


def _not_found(delivery_id: str) -> NotFound:
    return NotFound(
        "delivery.unknown",
        Localized(f"There is no delivery {delivery_id}", f"不存在投递 {delivery_id}"),
        Localized("List them with `relay deliveries`.", "可用 `relay deliveries` 查看列表。"),
    )
