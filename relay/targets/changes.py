"""Calls that change a target: each goes through a ChangeGuard, which the core hands in.

A call cannot take effect before its body is complete. So the last bytes of a body are held back
until the guard has durably recorded what the call is about to change, and has checked that this
worker may still change it. After a crash or a lost response, Relay knows from that record that it
has to ask the target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Protocol

from relay.intents import ChangeCall, IntentState

LAST_BYTES = 512
"""Bytes of a body that are held back: a server accepts them at once or not at all."""


class Body(Sized, Iterable[bytes], Protocol):
    """The body of a request, of known length; each iteration is another pass."""


class LastBytes(bytes):
    """The held-back end of a body. `send_within`: seconds in which it has to be sent."""

    send_within: float


@dataclass(frozen=True, slots=True)
class FunctionName:
    """The name and package under which an archive is imported."""

    func_name: str
    package: str


class Change:
    """A call that changes a function. Iterating sends the body; each iteration is another pass.

    `digest` returns, once the body was read, the SHA-512 (hex) of the code that is sent, or the
    SHA-256 of a configuration; "" if there is none. `size`: bytes of the code, if known.
    """

    def __init__(
        self,
        guard: ChangeGuard,
        call: ChangeCall,
        function: FunctionName,
        body: Body,
        digest: Callable[[], str],
        size: int | None,
    ) -> None:
        self.call = call
        self.function = function
        self.digest = digest
        self.size = size
        self._guard = guard
        self._body = body
        self._is_released = False
        self.is_sent = False
        """Whether the body may have been sent completely in the last pass."""

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        self._is_released = self.is_sent = False
        last = b""
        left = len(self._body)
        for chunk in self._body:
            left -= len(chunk)
            if left < 0:
                raise ValueError("the body is longer than announced")
            if left >= LAST_BYTES:
                yield chunk
            else:  # Only the end of the body is copied.
                held = last + chunk
                cut = max(len(held) - LAST_BYTES, 0)
                if cut:
                    yield held[:cut]
                last = held[cut:]
        if left:
            raise ValueError("the body is shorter than announced")
        end = LastBytes(last)
        end.send_within = self._guard.send_within
        self._guard.release(self)
        self._is_released = True
        yield end
        self.is_sent = True

    def answered(self, status: int) -> None:
        """Close the intent if the HTTP status of the response shows that nothing was changed.

        That is 4xx, except for 408. Call it for each response, also if the call is then repeated.
        """
        if 400 <= status < 500 and status != 408:
            self.refused()

    def refused(self) -> None:
        """The target answered that it has not made the change."""
        self._close(IntentState.REFUSED)

    def applied(self) -> None:
        """The target confirmed the change, and another call follows."""
        self._close(IntentState.APPLIED)

    def interrupted(self) -> None:
        """There was no response: close the intent if the last bytes were not sent."""
        if not self.is_sent:
            self._close(IntentState.NEVER_SENT)

    def _close(self, state: IntentState) -> None:
        if self._is_released:
            self._is_released = False
            self._guard.close(self, state)


class ChangeGuard(ABC):
    """Hands out the calls of an import and records them.

    `send_within`: seconds in which the last bytes of a body have to be sent.
    """

    send_within = 5.0

    def change(
        self,
        call: ChangeCall,
        function: FunctionName,
        body: Body,
        *,
        digest: Callable[[], str],
        size: int | None = None,
    ) -> Change:
        """Return the call; the target sends `len(change)` bytes by iterating over it."""
        return Change(self, call, function, body, digest, size)

    @abstractmethod
    def release(self, change: Change) -> None:
        """Record the call durably, before its last bytes are sent.

        Raises an exception, which the target lets through, if the call must not be completed.
        """

    @abstractmethod
    def close(self, change: Change, state: IntentState) -> None:
        """Record what is known about the effect of the last pass of the call."""
