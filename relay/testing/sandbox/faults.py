"""Faults that the sandbox simulates: definition, command-line syntax and queue."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args, get_type_hints

from relay.errors import ConfigError
from relay.model import Localized
from relay.testing.sandbox.replies import CODES, SandboxReply, default_code

OPERATIONS = (
    "import",
    "list",
    "config",
    "code",
    "update_code",
    "update_config",
    "delete",
    "export",
    "download",
    "quotas",
    "projects",
    "domains",
    "token",
    "metadata_token",
    "metadata_key",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the next `times` calls (None: all) of `operation` ("*": any).

    status       respond with this status, and with `code`, `message` and Retry-After
    delay        wait this many seconds before the response
    func_name    name this function in the response
    answer       respond with this text, as 200 unless there is a `status`
    commit       execute the call before the wrong response (or the reset)
    drop         reset the connection instead of responding
    cut_after    stop reading after this many bytes of the body; then `status`, or else a reset
    trickle      read this many bytes of the body per second
    retry_after  seconds, or any text, sent as it is
    """

    operation: str = "import"
    status: int | None = None
    code: str | None = None
    message: str | None = None
    delay: float = 0.0
    retry_after: str | int | None = None
    func_name: str | None = None
    answer: str | None = None
    commit: bool = False
    drop: bool = False
    cut_after: int | None = None
    trickle: int | None = None
    times: int | None = 1

    @property
    def reply(self) -> SandboxReply | None:
        """The response that replaces the regular one, or None."""
        if self.answer is not None:
            return SandboxReply(self.status or 200, stream=[self.answer.encode()])
        if self.status is None:
            return None
        code = self.code or default_code(self.status)
        message = self.message or CODES.get(code, (0, f"The sandbox simulates {code}"))[1]
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return SandboxReply(self.status, {"error_code": code, "error_msg": message}, headers)

    @property
    def resets(self) -> bool:
        return self.drop or (self.cut_after is not None and self.reply is None)

    @property
    def has_effect(self) -> bool:
        """Whether the call is executed."""
        return self.commit or (self.reply is None and not self.resets)


def make_fault(values: Mapping[str, Any], operations: tuple[str, ...] = OPERATIONS) -> Fault:
    """Create a fault. Raises ConfigError for an unknown field or an invalid value."""
    types = get_type_hints(Fault)
    names = [field.name for field in fields(Fault)]
    for name, value in values.items():
        if name not in names:
            raise _invalid(name, "unknown", f"one of {', '.join(names)}")
        allowed = get_args(types[name]) or (types[name],)
        if float in allowed:
            allowed = (*allowed, int)
        if isinstance(value, bool) is not (bool in allowed) or not isinstance(value, allowed):
            raise _invalid(name, f"{value!r} has the wrong type", "see `relay sandbox --help`")
    fault = Fault(**values)
    _check(fault, operations)
    return fault


def _check(fault: Fault, operations: tuple[str, ...]) -> None:
    if fault.operation not in (*operations, "*"):
        raise _invalid(
            "operation", f"{fault.operation!r} is unknown", f"one of {', '.join(operations)} or *"
        )
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise _invalid("status", f"{fault.status} is not an HTTP status", "200 to 599")
    for name in ("delay", "cut_after", "trickle", "times"):
        if (getattr(fault, name) or 0) < 0:
            raise _invalid(name, "is negative", "a number of at least 0")
    header = str(fault.retry_after or "")
    if not header.isprintable() or not header.isascii():
        raise _invalid("retry_after", "is not a valid header value", "printable ASCII")
    if fault.code is not None and fault.status is None:
        raise _invalid("code", "needs a status", f"status={CODES.get(fault.code, (400,))[0]}")


def parse_fault(spec: str) -> Fault:
    """Parse a fault such as `import:status=500,times=3`.

    Flags need no value (`import:commit,drop`). `times=always` has no end. Raises ConfigError.
    """
    operation, _, rest = spec.partition(":")
    values: dict[str, Any] = {"operation": operation.strip()}
    for part in filter(None, map(str.strip, rest.split(","))):
        name, sign, text = map(str.strip, part.partition("="))
        values[name] = _parse_value(name, text if sign else "true")
    return make_fault(values)


def _parse_value(name: str, text: str) -> Any:
    if name in ("code", "message", "retry_after", "func_name", "answer"):
        return text
    if name == "times" and text == "always":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _invalid(name: str, problem: str, hint: str) -> ConfigError:
    return ConfigError(
        f"fault.{name}",
        Localized(f"{name} {problem}", f"{name} 有误：{problem}"),
        Localized(hint, hint),
    )


class FaultQueue:
    """Pending faults: each call takes the first fault for that operation."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            if fault.times != 0:
                self._faults.append(fault)

    def take(self, operation: str) -> Fault | None:
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.operation in (operation, "*"):
                    if fault.times == 1:
                        del self._faults[index]
                    elif fault.times is not None:
                        self._faults[index] = replace(fault, times=fault.times - 1)
                    return fault
        return None

    def pending(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def clear(self) -> int:
        """Remove all pending faults and return their number."""
        with self._lock:
            count = len(self._faults)
            self._faults.clear()
        return count
