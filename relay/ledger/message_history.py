"""Told: what channels heard of an object before, and where a follow-up belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select

from relay.ledger.database import Part
from relay.ledger.schema import deliveries
from relay.model import Delivery, Json, Kind

_LOOKED_AT = 100
"""Messages of an object that are looked at, the newest: its last news are among them."""

_SAME = ("key", "source", "bucket", "route")
_NEWEST = (
    select(*(deliveries.c[name] for name in ("id", "destination", "created", "message")))
    .where(*(deliveries.c[name] == bindparam(name) for name in _SAME))
    .where(deliveries.c.kind == Kind.MESSAGE)
    .order_by(deliveries.c.id.desc())
    .limit(_LOOKED_AT)
)
_RESULT = select(deliveries.c.result).where(deliveries.c.id == bindparam("id"))


class Told(Part):
    """Who knows what."""

    def failures(self, delivery: Delivery) -> Mapping[str, Json]:
        """For each channel that heard last of this object, by this route, that its import failed:
        when that was and in which message, as {"failed_at": time, "message": id}."""
        last: dict[str, Any] = {}
        same = {name: getattr(delivery, name) for name in _SAME}
        with self._database.read() as connection:
            for row in connection.execute(_NEWEST, same):
                last.setdefault(row.destination, row)
        return {
            channel: {"failed_at": row.created.isoformat(timespec="seconds"), "message": row.id}
            for channel, row in last.items()
            if row.message["type"] == "import.failed"
        }

    def thread(self, message_id: str) -> str | None:
        """The service's own name of a message, or of the digest that it was told in."""
        with self._database.read() as connection:
            result = connection.execute(_RESULT, {"id": message_id}).scalar() or {}
            if "digest" in result:
                result = connection.execute(_RESULT, {"id": result["digest"]}).scalar() or {}
        thread: str | None = result.get("thread")
        return thread
