"""Keeps the messages about a subject in order: per channel, a newer one replaces those that wait.

The subject of a message is an object of a route, or a target. A message waits while an older one
about the same subject is being posted (next_due.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, not_, select, update

from relay.errors import Superseded
from relay.ledger.batching_rules import without_deliveries
from relay.ledger.database import Database
from relay.ledger.ids import new_id, new_id_after
from relay.ledger.rows import AnyRow
from relay.ledger.schema import PENDING, deliveries
from relay.ledger.types import storable
from relay.ledger.values import WaitReason
from relay.model import Delivery, Json, Kind, Localized, NewMessage, State, Trigger

RECHECK = timedelta(seconds=2)
"""Delay of a message while a digest with an older message about the same subject is posted."""

_MAX_EARLIER = 100
"""The newest messages of a subject that are searched for the last one that was posted."""

_REPLACED = Localized(
    "A newer message about the same subject replaced this message before it was posted.",
    "该消息尚未发出，已被关于同一对象的新消息取代。",
)

_d = deliveries.c
_COLUMNS = [
    _d[name]
    for name in (
        *("id", "destination", "state", "trigger", "reason", "result", "parent"),
        *("created", "message_type"),
    )
]
_IS_REPLACED = and_(_d.state == State.SKIPPED, _d.reason == Superseded.reason)
_OF_SUBJECT = (
    select(*_COLUMNS)
    .where(_d.subject == bindparam("subject"), not_(_IS_REPLACED))
    .order_by(_d.id.desc())
    .limit(_MAX_EARLIER)
)
_OF_CHANNEL = _OF_SUBJECT.where(_d.destination == bindparam("destination"))
_MEMBERS: Select[Any] = select(*_COLUMNS, _d.subject).where(
    _d.parent.in_(bindparam("parents", expanding=True)),
    _d.destination == bindparam("destination"),
    _d.reason == "digest",
)
_NEWEST = (
    select(_d.subject, func.max(_d.id).label("id"))
    .where(
        _d.subject.in_(bindparam("subjects", expanding=True)),
        _d.destination == bindparam("destination"),
        not_(_IS_REPLACED),
    )
    .group_by(_d.subject)
)
_this = deliveries.alias("this")
_NEWER = (
    select(_d.id)
    .join(_this, and_(_this.c.subject == _d.subject, _this.c.destination == _d.destination))
    .where(_this.c.id == bindparam("this_id"), _d.id > _this.c.id, not_(_IS_REPLACED))
    .order_by(_d.id.desc())
    .limit(1)
)


def store_messages(
    database: Database,
    connection: Connection,
    messages: Sequence[NewMessage],
    now: datetime,
    about: Delivery | None = None,
) -> None:
    """Store messages about a delivery, or about a target, and end the waiting ones they replace.

    A message about a success gets `recovered` if the last message that was posted to the channel
    reported a failure, or may do so soon. Without one, a message `only_if_recovered` is not stored.
    """
    subjects = [subject_of(message, about) for message in messages]
    earlier: dict[str | None, Sequence[AnyRow]] = {None: ()}
    for known_subject in dict.fromkeys(filter(None, subjects)):
        database.advisory_lock(connection, "subject", known_subject)
        earlier[known_subject] = connection.execute(_OF_SUBJECT, {"subject": known_subject}).all()
    rows = []
    for message, subject in zip(messages, subjects, strict=True):
        known = [
            row for row in earlier.get(subject or "", ()) if row.destination == message.channel
        ]
        row = message_row(message, now, about)
        row |= {"id": new_id_after(now, known[0].id if known else None), "subject": subject}
        replaced = _lock_waiting(connection, known)
        is_stored = True
        if message.type == "import.succeeded":
            left = [other for other in known if other.id not in replaced]
            failure = _failure(connection, left, _may_be_posted)
            if failure:
                row["message"]["body"] = {**message.body, "recovered": failure}
            is_stored = bool(failure) or not message.only_if_recovered
        _update(connection, replaced, replaced_values(now, row["id"] if is_stored else None))
        rows += [row] if is_stored else []
    if rows:
        connection.execute(deliveries.insert(), rows)
        database.notify_workers(connection)


def message_row(
    message: NewMessage, now: datetime, about: Delivery | None = None
) -> dict[str, Any]:
    """Return the row of a message about a delivery; None: about several, or a destination."""
    return {
        "id": new_id(now),
        "kind": Kind.MESSAGE,
        "state": State.PENDING,
        "source": about.source if about else "",
        "route": about.route if about else "",
        "bucket": about.bucket if about else "",
        "key": about.key if about else "",
        "version": about.version if about else None,
        "destination": message.channel,
        "event_id": about.event_id if about else None,
        "parent": about.id if about else None,
        "created": now,
        "due": now,
        "trigger": Trigger.AUTOMATIC,
        "options": {"only_if_recovered": True} if message.only_if_recovered else {},
        "channels": [],
        "message_type": message.type,
        "message": {"type": message.type, "body": message.body},
        "subject": None,
    }


def prepare_message(connection: Connection, row: AnyRow, now: datetime) -> AnyRow | None:
    """Return the row of a due message as it is to be posted, or None to claim another.

    Ends the message if a newer one about the subject exists, unless a person wants it. Otherwise
    ends the older ones that wait, removes them from digests that wait, and corrects `recovered`:
    which of the older messages were posted is certain now. A digest loses replaced messages.
    """
    if row.message_type == "digest":
        return _prepare_digest(connection, row, now)
    if row.subject is None:
        return row
    of_channel = {"subject": row.subject, "destination": row.destination}
    others = connection.execute(_OF_CHANNEL, of_channel).all()
    newer = next((other.id for other in others if other.id > row.id), None)
    if newer and row.trigger == Trigger.AUTOMATIC:
        _update(connection, [row.id], replaced_values(now, newer))
        return None
    older = [other for other in others if other.id < row.id]
    if not _leave_digests(connection, row, older, now):
        return None
    _update(connection, _lock_waiting(connection, older), replaced_values(now, row.id))
    return _check_recovered(connection, row, _failure(connection, older, _is_posted), now)


def newer_message(connection: Connection, delivery_id: str) -> str | None:
    """Return the newest message about the same subject to the same channel, if one is newer."""
    return connection.execute(_NEWER, {"this_id": delivery_id}).scalar()


def replaced_values(now: datetime, by: str | None) -> Json:
    """Return the values of a message that was not posted because of a newer message, `by`."""
    return {
        "state": State.SKIPPED,
        "reason": Superseded.reason,
        "result": {"words": _REPLACED._asdict(), **({"replaced_by": by} if by else {})},
        "error": None,
        "due": None,
        "finished": now,
        "owner": None,
        "leased_until": None,
    }


def subject_of(message: NewMessage, about: Delivery | None) -> str | None:
    """Return the subject of a message: a hash, because keys are too long for an index."""
    if about is not None:
        parts = [about.source, about.route, about.bucket, about.key]
    elif message.type.startswith("target."):
        parts = ["target", str(message.body["target"])]
    elif message.type == "configuration.missing":
        parts = ["missing", str(message.body["setting"])]
    else:
        return None
    # No name of a source or route contains the separator; the key, which may, is the last part.
    return hashlib.sha256("\x1f".join(map(storable, parts)).encode()).hexdigest()


def _lock_waiting(connection: Connection, rows: Iterable[AnyRow]) -> set[str]:
    """Lock those of the messages that wait, unless a person wants them posted. Returns their ids.

    A claim or a digest may have taken one since the rows were read; such a message stays.
    """
    conditions = PENDING, _d.trigger == Trigger.AUTOMATIC
    ids = [
        row.id for row in rows if row.state == State.PENDING and row.trigger == Trigger.AUTOMATIC
    ]
    if not ids:
        return set()
    query = select(_d.id).where(_d.id.in_(ids), *conditions).with_for_update()
    return set(connection.execute(query).scalars())


def _failure(
    connection: Connection,
    rows: Sequence[AnyRow],
    counts: Callable[[AnyRow | None], bool],
) -> Json | None:
    """Return the last of the messages for which `counts` holds, if it reports a failure.

    `rows` are sorted, newest first. For a message in a digest, the digest counts.
    """
    for row in rows:
        carrier: AnyRow | None = row
        if row.reason == "digest":
            digest = select(*_COLUMNS).where(_d.id == row.result["digest"])
            carrier = connection.execute(digest).first()
        if counts(carrier):
            if row.message_type != "import.failed":
                return None
            return {"failed_at": row.created.isoformat(timespec="seconds"), "message": row.id}
    return None


def _is_posted(row: AnyRow | None) -> bool:
    return row is not None and row.state == State.SUCCEEDED


def _may_be_posted(row: AnyRow | None) -> bool:
    """Return whether a message was posted, or is posted before one that is stored now."""
    return row is not None and row.state in (State.SUCCEEDED, State.RUNNING, State.PENDING)


def _check_recovered(
    connection: Connection, row: AnyRow, failure: Json | None, now: datetime
) -> AnyRow | None:
    message = row.message
    if message["body"].get("recovered") == failure:
        return row
    if failure is None and row.options.get("only_if_recovered"):
        _update(connection, [row.id], replaced_values(now, None))
        return None
    message = {**message, "body": {**message["body"], "recovered": failure}}
    _update(connection, [row.id], {"message": message})
    return connection.execute(select(deliveries).where(_d.id == row.id)).one()


def _leave_digests(
    connection: Connection, row: AnyRow, older: Sequence[AnyRow], now: datetime
) -> bool:
    """Remove older messages about the subject from digests that wait.

    Returns False if such a digest is being posted: the message is then due a little later.
    """
    members = [other for other in older if other.reason == "digest"]
    if not members:
        return True
    unfinished = (State.PENDING, State.RUNNING)
    digests = select(deliveries).where(
        _d.id.in_({member.result["digest"] for member in members}), _d.state.in_(unfinished)
    )
    found = connection.execute(digests).all()
    if any(digest.state == State.RUNNING for digest in found):
        waits = {"state": State.PENDING, "owner": None, "leased_until": None}
        reason = WaitReason.SAME_FUNCTION
        _update(connection, [row.id], {**waits, "due": now + RECHECK, "wait_reason": reason})
        return False
    for digest in found:
        of_digest = [member for member in members if member.result["digest"] == digest.id]
        _remove(connection, digest, of_digest, now, by=row.id)
    return True


def _prepare_digest(connection: Connection, row: AnyRow, now: datetime) -> AnyRow | None:
    parents = [entry["delivery"] for entry in row.message["body"]["deliveries"]]
    of_channel = {"destination": row.destination}
    found: Sequence[AnyRow] = connection.execute(_MEMBERS, {**of_channel, "parents": parents}).all()
    members = [member for member in found if member.result["digest"] == row.id and member.subject]
    subjects = list({member.subject for member in members})
    newest = {
        row_.subject: row_.id
        for row_ in connection.execute(_NEWEST, {**of_channel, "subjects": subjects})
    }
    left: AnyRow | None = row
    for member in members:
        if left is not None and newest[member.subject] > member.id:
            left = _remove(connection, left, [member], now, by=newest[member.subject])
    return left


def _remove(
    connection: Connection, digest: AnyRow, members: Sequence[AnyRow], now: datetime, *, by: str
) -> AnyRow | None:
    """Remove replaced messages from a digest. Returns the new row; None if nothing is left."""
    _update(connection, [member.id for member in members], replaced_values(now, by))
    body = without_deliveries(digest.message["body"], {member.parent for member in members})
    if body is None:
        _update(connection, [digest.id], replaced_values(now, None))
        return None
    _update(connection, [digest.id], {"message": {**digest.message, "body": body}})
    return connection.execute(select(deliveries).where(_d.id == digest.id)).one()


def _update(connection: Connection, ids: Collection[str], values: Json) -> None:
    if ids:
        connection.execute(update(deliveries).where(_d.id.in_(ids)).values(**values))
