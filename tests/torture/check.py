"""The invariants I1 to I6, checked against what was written down beside the relay."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.torture.ledger import Row

if TYPE_CHECKING:
    from tests.torture.world import World

BUGS = ("hit a bug", "Exception in thread", "Exception on /", "outcome not recorded")
PLANTED = "a bug of the handler"
SHOWN = 5
"""Of each kind of violation; more of the same tell nothing new."""


def violations(world: World) -> list[str]:
    """Each broken promise in a sentence; an empty list is what everybody hopes for."""
    rows = world.ledger.deliveries()
    imports = [one for one in rows if one.kind == "import"]
    found: list[str] = []
    for check in (_terminal, _once, _true, _newest, _told):
        said = list(check(world, imports))
        found += said[:SHOWN]
        if len(said) > SHOWN:
            found.append(f"... and {len(said) - SHOWN} more of {said[0].split()[0]}")
    found += [f"I1 message {one.id} is {one.state}" for one in rows if one.is_open and _late(one)]
    found += _secrets(world)
    return found


def _late(row: Row) -> bool:
    return row.kind == "message"


def _terminal(world: World, imports: list[Row]) -> Iterator[str]:
    there = defaultdict(list)
    for one in imports:
        there[one.name].append(one)
    for name in world.record.accepted:
        if name not in there:
            yield f"I1 {name} was accepted and has no delivery"
        for one in there[name]:
            if one.is_open:
                yield f"I1 {name} was accepted and is {one.state} ({one.error})"


def _once(world: World, _: list[Row]) -> Iterator[str]:
    for (function, digest), number in world.record.effective().items():
        if number > 1:
            yield f"I2 {function} got the code {digest[:8]} {number} times"


def _true(world: World, imports: list[Row]) -> Iterator[str]:
    """What the ledger says of each delivery is what the sandbox holds or once held."""
    effective = world.record.effective()
    for one in imports:
        upload = world.record.uploads.get(one.name)
        if upload is None or one.is_open or one.reason == "no route":
            continue
        happened = (upload.function, upload.digest) in effective
        if one.state == "succeeded" and not happened:
            yield f"I3 {one.key} {one.version} succeeded, the sandbox never got it"
        if one.state == "failed" and happened:
            yield f"I3 {one.key} {one.version} failed ({one.error}), the sandbox has it"
        if one.state == "failed" and upload.is_good and not world.may_fail:
            yield f"I3 {one.key} {one.version} failed ({one.error}), though it is good"


def _newest(world: World, _: list[Row]) -> Iterator[str]:
    """With `update` a function ends as the newest version of its object."""
    if world.options.on_conflict != "update":
        return
    newest = {}
    for name, upload in world.record.uploads.items():
        before = newest.get(upload.function)
        ours = upload.version.sequence
        taken = name in world.record.accepted and upload.is_good
        if taken and (before is None or before.version.sequence < ours):
            newest[upload.function] = upload
    held = world.sandbox.functions
    for function, upload in newest.items():
        if function not in held:
            yield f"I4 {function} is not there"
        elif held[function].digest != upload.digest:
            yield f"I4 {function} is not {upload.version.id}, its newest version"


def _told(world: World, imports: list[Row]) -> Iterator[str]:
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for message in world.inbox.messages:
        if message.status == 204 and message.json is not None:
            for about in _told_by(message.json):
                ids[about].add(message.webhook_id or "")
    wanted = {
        (one.id, f"import.{one.state}"): one
        for one in imports
        if not one.is_open and one.reason != "no route"
    }
    for name, one in wanted.items():
        if len(ids[name]) != 1:
            yield f"I5 {one.key} {one.state} was told by {len(ids[name])} different messages"
    for about, kind in ids:
        if kind.startswith("import.") and (about, kind) not in wanted:
            yield f"I5 {kind} of {about} was told, and is not so"


def _told_by(message: dict[str, Any]) -> list[tuple[str, str]]:
    """Of which delivery a message tells what; a digest tells of many."""
    said = message["data"]
    if message["type"] != "digest":
        return [(str(said.get("delivery")), message["type"])]
    return [(one["delivery"], f"import.{one['result']}") for one in said["deliveries"]]


def _secrets(world: World) -> Iterator[str]:
    for where, text in _written(world):
        for name, secret in world.secrets.items():
            if secret in text:
                yield f"I6 {name} stands in the {where}"


def _written(world: World) -> Iterator[tuple[str, bytes]]:
    for log in world.folder.glob("*.log"):
        yield f"log {log.name}", log.read_bytes()
    for text in world.ledger.texts():
        yield "ledger", text


def bugs(world: World) -> list[str]:
    """Lines of the logs that tell of a bug: an exception that nobody expected."""
    lines = (
        line
        for log in sorted(world.folder.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
    )
    return [
        _event(line) for line in lines if any(sign in line for sign in BUGS) and PLANTED not in line
    ]


def _event(line: str) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        return line[:200]
    return f"{told.get('event')}: {str(told.get('traceback'))[-300:]}"
