"""What the targets taught us: how they name code where they do not keep its SHA-512."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import select, update

from relay.ledger.database import LedgerPart
from relay.ledger.errors import LedgerUnavailable
from relay.ledger.schema import digests


class TargetDigests(LedgerPart):
    """Pairs of digests, ours and the target's, from answers that left no doubt."""

    def remember(self, target: str, ours: str, theirs: str) -> None:
        """Keeps that `target` shows `theirs` for a code file whose SHA-512 (hex) is `ours`."""
        row = {"target": target, "ours": ours.lower(), "theirs": theirs.lower()}
        insert = self._database.insert(digests).values(row)
        upsert = insert.on_conflict_do_update(
            index_elements=[digests.c.target, digests.c.ours],
            set_={"theirs": row["theirs"], "unused": None},
        )
        with self._database.write() as connection:
            connection.execute(upsert)

    def find(self, target: str, ours: str) -> str | None:
        """What the target showed for that code the last time, in lower case; None: not known."""
        this = digests.c.target == target, digests.c.ours == ours.lower()
        with self._database.read() as connection:
            query = select(digests.c.theirs, digests.c.unused).where(*this)
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.unused is not None:
            # Else it is forgotten in time. The answer is worth more than that.
            with suppress(LedgerUnavailable), self._database.write() as connection:
                connection.execute(update(digests).where(*this).values(unused=None))
        return str(row.theirs)
