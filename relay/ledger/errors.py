"""What the ledger raises: leaves of the tree in relay/errors.py."""

from __future__ import annotations

from relay.errors import PermanentFailure, TemporaryFailure


class LedgerUnavailable(TemporaryFailure):
    """The ledger cannot be read or written now; nothing was changed."""


class NotFound(PermanentFailure):
    """There is nothing by that id."""


class Conflict(PermanentFailure):
    """What was asked for does not go together with how things stand."""
