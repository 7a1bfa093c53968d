"""Stores the progress of scans, and since when a source has sent no notifications."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from relay.ledger.database import LedgerPart
from relay.ledger.errors import Conflict
from relay.ledger.rows import AnyRow
from relay.ledger.schema import notifications, scans
from relay.ledger.values import NewScan, Scan, ScanStep
from relay.model import Localized, Origin, ScanCursor

LEASE = timedelta(minutes=5)
"""A scan without a step for so long counts as interrupted, and another may resume it."""

GRACE = timedelta(minutes=10)
"""How late a notification of an object may be before the source counts as silent."""

_PUSHED = (Origin.HOOK, Origin.QUEUE)
"""The origins of notifications that the storage itself sends."""


class Scans(LedgerPart):
    """Stores the current or last scan of each source."""

    def last(self, source: str) -> Scan | None:
        """Return the current or last scan of a source."""
        with self._database.read() as connection:
            return _to_scan(_select(connection, source))

    def begin(self, new: NewScan, now: datetime) -> Scan:
        """Begin a scan of a source, or resume an interrupted scan.

        An interrupted scan that would not cover `new` is started again. Raises Conflict while
        another process scans the source.
        """
        with self._database.write() as connection:
            self._database.advisory_lock(connection, "scan", new.source)
            row = _select(connection, new.source)
            _refuse_second(row, new, now)
            previous = _to_scan(row)
            scan = _with_buckets(_start_or_resume(previous, new, now), previous, new)
            scan = replace(scan, ran=now, owner=new.owner)
            values = asdict(scan) | {"cursor": _to_json(scan.cursor), "leased_until": now + LEASE}
            del values["resumed"], values["new_buckets"]
            insert = self._database.insert(scans).values(**values)
            upsert = insert.on_conflict_do_update(index_elements=[scans.c.source], set_=values)
            connection.execute(upsert)
        return scan

    def advance(self, scan: Scan, step: ScanStep, now: datetime) -> bool:
        """Store the progress. Returns False, and stores nothing, if another process resumed it."""
        values = {
            "cursor": _to_json(step.cursor),
            "listed": scans.c.listed + step.listed,
            "found": scans.c.found + step.found,
            "leased_until": now + LEASE,
            "ran": now,
        }
        with self._database.write() as connection:
            return _update(connection, scan, values)

    def end(self, scan: Scan, now: datetime, *, completed: bool) -> None:
        """Release the scan. If it is not `completed`, the next scan resumes it."""
        values: dict[str, Any] = {"owner": None, "leased_until": None, "ran": now}
        if completed:
            values["cursor"] = None
            # A scan of the last days does not replace the first scan of the whole source.
            values |= {"first": True} if scan.since else _completed(scan, now)
        with self._database.write() as connection:
            if _update(connection, scan, values):
                _update_silence(connection, scan.source, ())

    def note_unannounced(self, source: str, moments: Sequence[datetime]) -> None:
        """Store the oldest time of objects that were found without a notification.

        The source is silent since then, unless a later notification arrived.
        """
        with self._database.write() as connection:
            self._database.advisory_lock(connection, "scan", source)
            _update_silence(connection, source, moments)

    def silences(self, now: datetime) -> dict[str, datetime | None]:
        """Return for each scanned source since when it is silent, or None.

        Any notification by hook or queue ends the silence.
        """
        query = select(scans.c.source, scans.c.silent)
        with self._database.read() as connection:
            return {
                source: since if _is_silent(connection, source, since, now) else None
                for source, since in connection.execute(query).all()
            }


def _select(connection: Connection, source: str) -> AnyRow | None:
    return connection.execute(select(scans).where(scans.c.source == source)).first()


def _refuse_second(row: AnyRow | None, new: NewScan, now: datetime) -> None:
    if row is None or row.owner is None or row.owner == new.dead or row.leased_until <= now:
        return
    raise Conflict(
        "scan.under_way",
        Localized(
            f"A scan of {new.source} is under way: {row.listed} objects listed so far",
            f"对 {new.source} 的扫描正在进行：目前已列出 {row.listed} 个对象",
        ),
        Localized(
            "Wait until it ends; a second scan would find the same objects.",
            "请等待其结束；再次扫描的结果相同。",
        ),
    )


def _start_or_resume(previous: Scan | None, new: NewScan, now: datetime) -> Scan:
    """Return the scan to run.

    An interrupted scan is not resumed if it only marks objects as seen and `new` wants everything,
    or if it does not list objects as old as `new` does.
    """
    fence = previous.fence + 1 if previous else 1
    if previous and previous.cursor and _covers(previous, new):
        return replace(previous, fence=fence, resumed=True)
    finished = previous.finished if previous else None
    # An interrupted scan of everything is still wanted.
    wants_everything = new.everything or (previous is not None and not previous.first)
    first = finished is None and not wants_everything
    return Scan(new.source, now, now, fence, first=first, since=new.since, finished=finished)


def _with_buckets(scan: Scan, previous: Scan | None, new: NewScan) -> Scan:
    complete = _complete_buckets(previous, new)
    is_later = scan.finished is not None and not new.everything
    return replace(
        scan,
        buckets={bucket: bucket in complete for bucket in sorted({*complete, *new.buckets})},
        new_buckets=tuple(set(new.buckets) - complete) if is_later else (),
    )


def _complete_buckets(previous: Scan | None, new: NewScan) -> set[str]:
    """Return the buckets that an earlier scan has listed completely, or that `new` delivers.

    Without a record of the buckets, those of now count as listed: earlier versions of Relay did not
    record them, and a source may have named none.
    """
    complete = set(new.buckets) if new.everything and new.since is None else set()
    if previous and previous.buckets:
        complete |= {bucket for bucket, is_complete in previous.buckets.items() if is_complete}
    elif previous and previous.finished:
        complete |= set(new.buckets)
    return complete


def _completed(scan: Scan, now: datetime) -> dict[str, Any]:
    """Return the values of the end of a scan of the whole source."""
    return {"finished": now, "buckets": dict.fromkeys(scan.buckets or (), True)}


def _covers(previous: Scan, new: NewScan) -> bool:
    if new.everything and previous.first:
        return False
    if previous.buckets and not previous.buckets.keys() >= set(new.buckets):
        return False  # a bucket was added, which the interrupted scan may have passed already
    return previous.since is None or (new.since is not None and previous.since <= new.since)


def _update(connection: Connection, scan: Scan, values: dict[str, Any]) -> bool:
    this = (scans.c.source == scan.source, scans.c.fence == scan.fence)
    return connection.execute(update(scans).where(*this).values(values)).rowcount == 1


def _update_silence(connection: Connection, source: str, moments: Sequence[datetime]) -> None:
    """Store the oldest moment after the last notification.

    Earlier moments are dropped, because retention may delete that notification.
    """
    row, last_notification = _select(connection, source), _last_notification(connection, source)
    if row is None:
        return
    after = [
        moment
        for moment in (*moments, row.silent)
        if moment and (not last_notification or moment > last_notification)
    ]
    oldest = min(after, default=None)
    if oldest != row.silent:
        connection.execute(update(scans).where(scans.c.source == source).values(silent=oldest))


def _is_silent(connection: Connection, source: str, since: datetime | None, now: datetime) -> bool:
    if since is None or now - since < GRACE:
        return False
    last_notification = _last_notification(connection, source)
    return last_notification is None or last_notification < since


def _last_notification(connection: Connection, source: str) -> datetime | None:
    """Return when the storage last sent a notification, by an index lookup per origin."""
    received = notifications.c.received
    of_source = notifications.c.source == source
    moments = [
        connection.execute(
            select(func.max(received)).where(of_source, notifications.c.origin == origin)
        ).scalar()
        for origin in _PUSHED
    ]
    return max((moment for moment in moments if moment), default=None)


def _to_scan(row: AnyRow | None) -> Scan | None:
    if row is None:
        return None
    mapping = row._mapping
    values = {name: mapping[name] for name in Scan.__dataclass_fields__ if name in mapping}
    return Scan(**values | {"cursor": tuple(json.loads(row.cursor)) if row.cursor else None})


def _to_json(cursor: ScanCursor | None) -> str | None:
    return None if cursor is None else json.dumps(list(cursor))
