"""Converts rows to the types of relay/model.py and values.py."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Row

from relay.ledger.values import Attempt, Notification
from relay.model import Delivery, Event, ObjectRef, Problem

AnyRow = Row[Any]

_DELIVERY = tuple(field.name for field in fields(Delivery))
_ATTEMPT = tuple(field.name for field in fields(Attempt))
_NOTIFICATION = tuple(field.name for field in fields(Notification))


def to_delivery(row: AnyRow) -> Delivery:
    values = {name: row._mapping[name] for name in _DELIVERY}
    values |= {"channels": tuple(row.channels), "error": _problem(row)}
    return Delivery(**values)


def to_attempt(row: AnyRow) -> Attempt:
    values = {name: row._mapping[name] for name in _ATTEMPT}
    return Attempt(**values | {"error": _problem(row)})


def to_event(row: AnyRow) -> Event:
    ref = ObjectRef(row.bucket, row.key, row.version, row.etag, row.size)
    return Event(ref, row.identity, row.type, row.time, row.order)


def to_notification(row: AnyRow) -> Notification:
    values = {name: row._mapping[name] for name in _NOTIFICATION}
    return Notification(**values | {"envelopes": tuple(row.envelopes)})


def _problem(row: AnyRow) -> Problem | None:
    return None if row.error is None else Problem.from_json(row.error)
