"""The last events of an object: what the next upload is held against, however old they are.

An object's events may come in any order. Its last one is the one that came last, the one of the
latest moment, and of each kind of order the one of the greatest: mostly all of these are one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_

from relay.ledger.schema import events

_other = events.alias("other")
_SAME_OBJECT = [_other.c[name] == events.c[name] for name in ("source", "bucket", "key")]
_LATER = or_(
    _other.c.received > events.c.received,
    and_(_other.c.received == events.c.received, _other.c.id > events.c.id),
)


def is_last(*, sqlite: bool) -> ColumnElement[bool]:
    """Whether a row of `events` is to be kept for as long as its object is known."""
    find = func.instr if sqlite else func.strpos
    colon = find(events.c.order, ":")
    kind, its_kind = (func.substr(one.c.order, 1, colon) for one in (events, _other))
    moment, its_moment = (func.coalesce(one.c.time, one.c.received) for one in (events, _other))
    by_moment = _passed(its_moment, moment)
    by_order = _passed(_other.c.order, events.c.order, kind == its_kind)
    return ~and_(_has(_LATER), by_moment, or_(colon == 0, by_order))


def _passed(its: ColumnElement[Any], mine: ColumnElement[Any], *where: Any) -> ColumnElement[bool]:
    """Whether another event of the object is further by something, or as far and came later."""
    # Nearly always that is the next one that came, which the index finds at once.
    soon = _has(_other.c.received > events.c.received, its >= mine, *where)
    return or_(soon, _has(or_(its > mine, and_(its == mine, _LATER)), *where))


def _has(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(*_SAME_OBJECT, *where)
