"""Learned digests: maps the SHA-512 of code to the digest that a target reports for it."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from sqlalchemy import delete, select, update

from relay.ledger.database import Database, LedgerPart
from relay.ledger.errors import LedgerUnavailable
from relay.ledger.schema import digests

_RULE = "*"
"""Begins the row of a type of code: the target was seen to report the SHA-512."""


_REMEMBERED = 60.0
"""Seconds for which a process does not look up again that a target reports the SHA-512."""


class TargetDigests(LedgerPart):
    """Stores pairs of digests from unambiguous responses of targets."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._reports_sha512: dict[tuple[str, str], float] = {}

    def remember(self, target: str, sha512: str, reported: str) -> None:
        """Store that `target` reports `reported` for code with this SHA-512 (hex)."""
        row = {"target": target, "ours": sha512.lower(), "theirs": reported.lower(), "unused": None}
        with self._database.write() as connection:
            self._database.upsert(connection, digests, row)

    def confirm_sha512(self, target: str, code_type: str) -> None:
        """Store that `target` reports the SHA-512 of code of this type, such as "inline"."""
        self.remember(target, _RULE + code_type, "sha512")

    def refute_sha512(self, target: str, code_type: str) -> None:
        """Forget confirm_sha512: the target reported another digest."""
        self._reports_sha512.pop((target, code_type), None)
        this = digests.c.target == target, digests.c.ours == _RULE + code_type
        with self._database.write() as connection:
            connection.execute(delete(digests).where(*this))

    def reports_sha512(self, target: str, code_type: str) -> bool:
        """Return whether `target` is known to report the SHA-512 of code of this type."""
        now = monotonic()
        if self._reports_sha512.get((target, code_type), now) > now:
            return True
        is_known = self.find(target, _RULE + code_type) is not None
        if is_known:
            self._reports_sha512[target, code_type] = now + _REMEMBERED
        return is_known

    def find(self, target: str, sha512: str) -> str | None:
        """Return the digest that the target last reported for this code, in lower case."""
        this = digests.c.target == target, digests.c.ours == sha512.lower()
        with self._database.read() as connection:
            query = select(digests.c.theirs, digests.c.unused).where(*this)
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.unused is not None:
            # Keeps the digest from being pruned; failing to do so must not fail the lookup.
            with suppress(LedgerUnavailable), self._database.write() as connection:
                connection.execute(update(digests).where(*this).values(unused=None))
        return str(row.theirs)
