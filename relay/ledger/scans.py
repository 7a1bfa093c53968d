"""Scans of the sources: where the one under way goes on, who is at it, and who fell silent."""

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
"""After so long without a step a scan counts as broken off, and another may go on with it."""

GRACE = timedelta(minutes=10)
"""How long the news of an object may take before its source counts as silent."""

_TOLD = (Origin.HOOK, Origin.QUEUE)
"""The roads by which a storage itself tells of its objects."""


class Scans(LedgerPart):
    """One row for each source: its scan under way, else its last one."""

    def last(self, source: str) -> Scan | None:
        """The scan of that source that is under way, else the last one; None: there was none."""
        with self._database.read() as connection:
            row = _row(connection, source)
            return _scan(row) if row else None

    def was_completed(self, source: str) -> bool:
        """Whether a scan of the whole source ever came to its end."""
        last = self.last(source)
        return last is not None and last.finished is not None

    def begin(self, new: NewScan, now: datetime) -> Scan:
        """Takes the right to scan a source, and goes on with the scan that was broken off.

        It begins anew when that one had left out what is asked for now. Raises Conflict while
        another is at it.
        """
        with self._database.write() as connection:
            self._database.advisory_lock(connection, "scan", new.source)
            row = _row(connection, new.source)
            old = _scan(row) if row else None
            _refuse_a_second(row, new, now)
            begun = replace(_goes_on(old, new, now), ran=now, owner=new.owner)
            taken = {**_values(begun), "leased_until": now + LEASE}
            insert = self._database.insert(scans).values(**taken)
            upsert = insert.on_conflict_do_update(index_elements=[scans.c.source], set_=taken)
            connection.execute(upsert)
        return begun

    def advance(self, scan: Scan, step: ScanStep, now: datetime) -> bool:
        """Keeps how far it came; False, and nothing is kept, when another goes on with it."""
        kept = {
            "cursor": _written(step.place),
            "listed": scans.c.listed + step.listed,
            "found": scans.c.found + step.found,
            "leased_until": now + LEASE,
            "ran": now,
        }
        with self._database.write() as connection:
            return _change(connection, scan, kept)

    def end(self, scan: Scan, now: datetime, *, completed: bool) -> None:
        """Release the scan. `completed` False: the next scan resumes it."""
        kept: dict[str, Any] = {"owner": None, "leased_until": None, "ran": now}
        if completed:
            kept["cursor"] = None
            # The first scan of the whole source is still to come after one of the last days.
            kept |= {"finished": now} if scan.since is None else {"first": True}
        with self._database.write() as connection:
            if _change(connection, scan, kept):
                _note(connection, scan.source, ())

    def note_unannounced(self, source: str, moments: Sequence[datetime]) -> None:
        """Keeps when the oldest object was modified, of those found, that nobody announced and
        after which no news came from the source: since then it is silent."""
        with self._database.write() as connection:
            self._database.advisory_lock(connection, "scan", source)
            _note(connection, source, moments)

    def silences(self, now: datetime) -> dict[str, datetime | None]:
        """For each source that was scanned, since when it is silent; None: it is not.

        Any notification by hook or queue ends it.
        """
        query = select(scans.c.source, scans.c.silent)
        with self._database.read() as connection:
            return {
                source: since if _is_silent(connection, source, since, now) else None
                for source, since in connection.execute(query).all()
            }


def _row(connection: Connection, source: str) -> AnyRow | None:
    return connection.execute(select(scans).where(scans.c.source == source)).first()


def _refuse_a_second(row: AnyRow | None, new: NewScan, now: datetime) -> None:
    if row is None or row.owner is None or row.owner == new.dead or row.leased_until <= now:
        return
    raise Conflict(
        "scan.under_way",
        Localized(
            f"A scan of {new.source} is under way: {row.listed} objects looked at so far",
            f"对 {new.source} 的扫描正在进行：目前已查看 {row.listed} 个对象",
        ),
        Localized("Wait for its end; two would find the same.", "请等待其结束；两次扫描结果相同。"),
    )


def _goes_on(old: Scan | None, new: NewScan, now: datetime) -> Scan:
    """The scan that begins or goes on. Who asks for everything cannot go on with one that only
    marks; nor who asks for older objects than the other looks at."""
    fence = old.fence + 1 if old else 1
    if old and old.place and not (new.everything and old.first) and _covers(old.since, new.since):
        return replace(old, fence=fence, resumed=True)
    finished = old.finished if old else None
    # Who was asked for everything and broke off is still asked for it.
    is_asked_for_all = new.everything or (old is not None and not old.first)
    first = finished is None and not is_asked_for_all
    return Scan(new.source, now, now, fence, first=first, since=new.since, finished=finished)


def _covers(earlier: datetime | None, asked: datetime | None) -> bool:
    return earlier is None or (asked is not None and earlier <= asked)


def _change(connection: Connection, scan: Scan, values: dict[str, Any]) -> bool:
    ours = (scans.c.source == scan.source, scans.c.fence == scan.fence)
    return connection.execute(update(scans).where(*ours).values(values)).rowcount == 1


def _note(connection: Connection, source: str, moments: Sequence[datetime]) -> None:
    """What came before the last news counts no more: that news may be forgotten one day."""
    row, heard = _row(connection, source), _heard(connection, source)
    if row is None:
        return
    since = [one for one in (*moments, row.silent) if one and (not heard or one > heard)]
    oldest = min(since, default=None)
    if oldest != row.silent:
        connection.execute(update(scans).where(scans.c.source == source).values(silent=oldest))


def _is_silent(connection: Connection, source: str, since: datetime | None, now: datetime) -> bool:
    if since is None or now - since < GRACE:
        return False
    heard = _heard(connection, source)
    return heard is None or heard < since


def _heard(connection: Connection, source: str) -> datetime | None:
    """When the storage last told of anything by itself. One look into the index for each road."""
    received = notifications.c.received
    ours = notifications.c.source == source
    moments = [
        connection.execute(
            select(func.max(received)).where(ours, notifications.c.road == road)
        ).scalar()
        for road in _TOLD
    ]
    return max((one for one in moments if one), default=None)


def _values(scan: Scan) -> dict[str, Any]:
    values = asdict(scan)
    values["cursor"] = _written(values.pop("place"))
    values.pop("resumed")
    return values


def _scan(row: AnyRow) -> Scan:
    held = row._mapping
    kept = {name: held[name] for name in Scan.__dataclass_fields__ if name in held}
    place = json.loads(row.cursor) if row.cursor else None
    return Scan(**kept, place=(place[0], place[1]) if place else None)


def _written(place: ScanCursor | None) -> str | None:
    return None if place is None else json.dumps(list(place))
