"""A ChangeGuard for tests: records the calls of a target in memory, and can forbid them."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay.intents import ChangeCall, IntentState
from relay.targets.changes import Change, ChangeGuard


class ChangeForbidden(BaseException):
    """The guard forbids the call, as when the lease of a delivery is lost."""


@dataclass
class RecordedChange:
    """A call that was released. `state` is OPEN until the target closes it."""

    call: ChangeCall
    func_name: str
    digest: str
    size: int | None
    state: IntentState = IntentState.OPEN


@dataclass
class ChangeRecorder(ChangeGuard):
    """Records calls. With `forbids`, no call may be completed."""

    forbids: bool = False
    calls: list[RecordedChange] = field(default_factory=list)
    _current: dict[Change, RecordedChange] = field(default_factory=dict)

    def release(self, change: Change) -> None:
        if self.forbids:
            raise ChangeForbidden
        name = change.function.func_name
        call = RecordedChange(change.call, name, change.digest(), change.size)
        self.calls.append(call)
        self._current[change] = call

    def close(self, change: Change, state: IntentState) -> None:
        self._current[change].state = state
