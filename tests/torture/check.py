"""The invariants I1 to I6, checked against an independent record of what happened."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.torture.announced import false_messages
from tests.torture.ledger import Row
from tests.torture.truth import false_outcomes

if TYPE_CHECKING:
    from tests.torture.world import World

BUGS = ("hit a bug", "Exception in thread", "Exception on /", "outcome not recorded")
INJECTED_BUG = "a bug of the handler"
SHOWN = 5
"""Number of violations that are listed for each invariant."""


def violations(world: World) -> list[str]:
    """Return a sentence for each violated invariant."""
    rows = world.ledger.deliveries()
    imports = [row for row in rows if row.kind == "import"]
    open_messages = [row for row in rows if row.kind == "message" and row.is_open]
    found: list[str] = []
    for check in (_finished, _imported_once, false_outcomes, _newest, false_messages):
        broken = list(check(world, imports))
        found += broken[:SHOWN]
        if len(broken) > SHOWN:
            found.append(f"... and {len(broken) - SHOWN} more of {broken[0].split()[0]}")
    found += [f"I1 message {row.id} is {row.state}" for row in open_messages]
    found += _secrets(world)
    return found


def _finished(world: World, imports: list[Row]) -> Iterator[str]:
    by_upload = defaultdict(list)
    for row in imports:
        by_upload[row.name].append(row)
    for name in world.record.accepted:
        if name not in by_upload:
            yield f"I1 {name} was accepted and has no delivery"
        for row in by_upload[name]:
            if row.is_open:
                yield f"I1 {name} was accepted and is {row.state} ({row.error})"


def _imported_once(world: World, _: list[Row]) -> Iterator[str]:
    for (function, digest), number in world.record.effective().items():
        if number > 1 and not world.may_repeat:
            yield f"I2 {function} got the code {digest[:8]} {number} times"


def _newest(world: World, _: list[Row]) -> Iterator[str]:
    """With `update`, the final code of a function is the newest version that can be read."""
    if world.options.on_conflict != "update":
        return
    newest = {}
    for name, upload in world.record.uploads.items():
        previous = newest.get(upload.function)
        sequence = upload.version.sequence
        is_read = upload.is_good and world.bucket.serves(upload.version)
        counts = name in world.record.accepted and is_read
        if counts and (previous is None or previous.version.sequence < sequence):
            newest[upload.function] = upload
    functions = world.sandbox.functions
    for function, upload in newest.items():
        if function not in functions:
            yield f"I4 {function} does not exist"
        elif functions[function].digest != upload.digest:
            yield f"I4 {function} is not the newest version, {upload.version.id}"


def _secrets(world: World) -> Iterator[str]:
    for place, text in _stored_texts(world):
        for name, secret in world.secrets.items():
            if secret in text:
                yield f"I6 {name} is in the {place}"


def _stored_texts(world: World) -> Iterator[tuple[str, bytes]]:
    for log in world.folder.glob("*.log"):
        yield f"log {log.name}", log.read_bytes()
    for text in world.ledger.texts():
        yield "ledger", text


def bugs(world: World) -> list[str]:
    """Return the log lines about unexpected exceptions."""
    lines = (
        line
        for log in sorted(world.folder.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
    )
    return [
        _event(line)
        for line in lines
        if any(text in line for text in BUGS) and INJECTED_BUG not in line
    ]


def _event(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line[:200]
    return f"{record.get('event')}: {str(record.get('traceback'))[-300:]}"
