"""What shall go wrong: faults, their spelling on a command line, and the queue they wait in."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypedDict, get_args, get_type_hints

from relay.errors import ConfigError
from relay.model import Json, Localized
from relay.testing.sandbox.answers import CODES, SandboxReply, usual_code

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


class FaultFields(TypedDict, total=False):
    """The keyword arguments of a fault."""

    operation: str
    status: int | None
    code: str | None
    message: str | None
    delay: float
    retry_after: str | int | None
    commit: bool
    drop: bool
    cut_after: int | None
    trickle: int | None
    times: int | None


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, at the next `times` calls of `operation` ("*": any); None: always.

    status       answers it, with `code` and `message` (else the usual ones) and Retry-After
    delay        waits that many seconds before the answer, whichever it is
    commit       acts on the call first, and only then answers wrongly (commit-then-drop)
    drop         resets the connection instead of answering
    cut_after    stops reading after so many bytes of the body; then `status`, else a reset
    trickle      reads the body at so many bytes a second
    retry_after  seconds, or any text to send as it is
    """

    operation: str = "import"
    status: int | None = None
    code: str | None = None
    message: str | None = None
    delay: float = 0.0
    retry_after: str | int | None = None
    commit: bool = False
    drop: bool = False
    cut_after: int | None = None
    trickle: int | None = None
    times: int | None = 1

    @property
    def answer(self) -> SandboxReply | None:
        """What is answered instead of the truth; None: the truth."""
        if self.status is None:
            return None
        code = self.code or usual_code(self.status)
        words = self.message or CODES.get(code, (0, f"The sandbox was told to answer {code}"))[1]
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return SandboxReply(self.status, {"error_code": code, "error_msg": words}, headers)

    @property
    def resets(self) -> bool:
        return self.drop or (self.cut_after is not None and self.status is None)

    @property
    def acts(self) -> bool:
        """Whether the call has its effect."""
        return self.commit or (self.status is None and not self.resets)

    def to_json(self) -> Json:
        return asdict(self)


def make_fault(given: Mapping[str, Any], operations: tuple[str, ...] = OPERATIONS) -> Fault:
    """The fault of these fields. Raises ConfigError for an unknown one or an impossible value."""
    kinds = get_type_hints(Fault)
    names = [one.name for one in fields(Fault)]
    for name, value in given.items():
        if name not in names:
            raise _wrong(name, "unknown", f"one of {', '.join(names)}")
        allowed = get_args(kinds[name]) or (kinds[name],)
        if float in allowed:
            allowed = (*allowed, int)
        if isinstance(value, bool) is not (bool in allowed) or not isinstance(value, allowed):
            raise _wrong(name, f"{value!r} does not fit", "see `relay sandbox --help`")
    fault = Fault(**given)
    _check(fault, operations)
    return fault


def _check(fault: Fault, operations: tuple[str, ...]) -> None:
    if fault.operation not in (*operations, "*"):
        raise _wrong(
            "operation", f"{fault.operation!r} is unknown", f"one of {', '.join(operations)} or *"
        )
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise _wrong("status", f"{fault.status} is no HTTP status", "200 to 599")
    for name in ("delay", "cut_after", "trickle", "times"):
        if (getattr(fault, name) or 0) < 0:
            raise _wrong(name, "is below zero", "a number from 0 on")
    told = str(fault.retry_after or "")
    if not told.isprintable() or not told.isascii():
        raise _wrong("retry_after", "cannot be a header", "printable ASCII")
    if fault.code is not None and fault.status is None:
        raise _wrong(
            "code", "has no status to go with", f"status={CODES.get(fault.code, (400,))[0]}"
        )


def parse_fault(spec: str) -> FaultFields:
    """Reads `import:status=500,times=3` into the arguments of `SandboxServer.fault`.

    Flags need no value (`import:commit,drop`) and `times=always` never ends. Raises ConfigError.
    """
    operation, _, rest = spec.partition(":")
    given: dict[str, Any] = {"operation": operation.strip()}
    for part in filter(None, (one.strip() for one in rest.split(","))):
        name, sign, text = (one.strip() for one in part.partition("="))
        given[name] = _read(name, text if sign else "true")
    make_fault(given)
    fields_: FaultFields = given  # type: ignore[assignment]  # make_fault has just checked them
    return fields_


def _read(name: str, text: str) -> Any:
    if name in ("code", "message", "retry_after"):
        return text
    if name == "times" and text == "always":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wrong(name: str, what: str, right: str) -> ConfigError:
    return ConfigError(
        f"fault.{name}",
        Localized(f"{name} {what}", f"{name} 有误：{what}"),
        Localized(right, right),
    )


class FaultQueue:
    """Faults wait here for their calls: the first one that fits is taken, one call at a time."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._guard = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._guard:
            if fault.times != 0:
                self._faults.append(fault)

    def take(self, operation: str) -> Fault | None:
        with self._guard:
            for place, fault in enumerate(self._faults):
                if fault.operation in (operation, "*"):
                    self._use(place, fault)
                    return fault
        return None

    def _use(self, place: int, fault: Fault) -> None:
        if fault.times == 1:
            del self._faults[place]
        elif fault.times is not None:
            self._faults[place] = replace(fault, times=fault.times - 1)

    def waiting(self) -> list[Fault]:
        with self._guard:
            return list(self._faults)

    def clear(self) -> int:
        """Forgets all that wait; how many those were."""
        with self._guard:
            count = len(self._faults)
            self._faults.clear()
        return count
