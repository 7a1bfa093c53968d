"""Intents: what a call is about to change at the target, recorded before it can take effect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ChangeCall(StrEnum):
    """A call that changes a function at the target."""

    CREATE = "create"
    UPDATE_CODE = "update code"
    UPDATE_CONFIGURATION = "update configuration"


class IntentState(StrEnum):
    """The known effect of a call; see Intent."""

    OPEN = "open"
    APPLIED = "applied"
    REPEATED = "repeated"
    """The change was made, by this call or by the same call of a later attempt. Until `settled_at`,
    the call may be carried out once more."""
    REFUSED = "refused"
    """The target answered 4xx, other than 408."""
    NEVER_SENT = "never sent"
    """The last bytes were not sent."""
    NOT_APPLIED = "not applied"
    """The target was asked when the call could no longer take effect."""
    OVERWRITTEN = "overwritten"
    """Another import changed the function before the effect was known."""


@dataclass(frozen=True, slots=True)
class NewIntent:
    """The change that a call is about to make.

    `function`: the name that orders the imports; `func_name` and `package`: those of the call,
    which differ under `rename`. `digest`: SHA-512 (hex) of the code, or SHA-256 of a configuration;
    "" if there is none. `size`: bytes of the code. `name_was_free`: the target was asked before and
    had no function of that name. `digest_before`: the digest that it reported before an update;
    None if it is not known. `is_exact`: the target is known to report the SHA-512 of such code.
    """

    call: ChangeCall
    function: str
    func_name: str
    package: str
    digest: str
    size: int | None
    name_was_free: bool
    digest_before: str | None = None
    is_exact: bool | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that was about to be completed, recorded before its last bytes were sent.

    As long as it is `open`, the function may have been changed, or may still be until `settled_at`:
    the target has to be asked. `what` is None for an attempt of a Relay that recorded no intents.
    """

    id: str
    delivery_id: str
    what: NewIntent | None
    recorded: datetime
    settled_at: datetime
    state: IntentState = IntentState.OPEN

    @property
    def is_open(self) -> bool:
        return self.state is IntentState.OPEN

    @property
    def is_applied(self) -> bool:
        return self.state in MADE


MADE = (IntentState.APPLIED, IntentState.REPEATED)
"""The states in which the change was made."""
