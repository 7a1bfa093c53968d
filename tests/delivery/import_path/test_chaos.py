"""Imports to a target that loses answers, fails, stalls and resets: none told wrongly."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Collection

import pytest

from relay.model import Delivery, Kind, State
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.faults import FaultFields

from .conftest import World, code_of, until

IMPORTS = int(os.environ.get("CHAOS_IMPORTS", "200"))
"""CI has two cores and twelve minutes; a thousand take these a minute and a half."""

CALLS = IMPORTS * 9 // 5
"""Import calls for which something is planned; those after them go well."""

READ_TIMEOUT = 0.5
WITHIN = 400.0
"""Seconds, for machines that do much else; two idle cores need some twenty."""

Plan = tuple[str, float, Callable[[random.Random], FaultFields]]
BROKEN = (500, 502, 503, 504)

MIX: tuple[Plan, ...] = (
    ("acts, then drops", 0.20, lambda _: {"commit": True, "drop": True}),
    ("5xx before acting", 0.10, lambda chance: {"status": chance.choice(BROKEN)}),
    ("5xx after acting", 0.10, lambda chance: {"status": chance.choice(BROKEN), "commit": True}),
    ("429", 0.02, lambda _: {"status": 429, "retry_after": 1}),
    ("answers late", 0.02, lambda _: {"delay": 2 * READ_TIMEOUT}),
    ("acts late", 0.01, lambda _: {"trickle": 1_000}),
    ("resets in the middle", 0.02, lambda chance: {"cut_after": chance.randint(1, 900)}),
)
"""What goes wrong with an import call, and how often; the rest goes well."""

ASKED: tuple[Plan, ...] = (
    ("answers 503", 0.05, lambda _: {"status": 503}),
    ("drops", 0.05, lambda _: {"drop": True}),
)
"""The same for the question what the target holds now."""


@pytest.mark.no_cover  # much of the same
@pytest.mark.parametrize("seed", [20261124])
def test_many_imports_end_with_nothing_false_and_nothing_twice(
    make_world: Callable[..., World], seed: int
) -> None:
    # The clock runs fast: else most of the time would pass in waiting as Retry-After asks.
    world = make_world(workers=8, read_timeout=f"{int(READ_TIMEOUT * 1000)}ms", clock_rate=8)
    uploads = [Upload(number) for number in range(IMPORTS)]
    for upload in uploads:
        upload.prepare(world)
    make_trouble(world, random.Random(seed))
    world.announce()
    world.relay.worker.start()
    try:
        until(lambda: over(world), WITHIN, nap=1)
    finally:
        world.relay.worker.stop(5)
    imports = {one.key: one for one in world.deliveries(Kind.IMPORT)}
    assert len(imports) == IMPORTS
    for upload in uploads:
        upload.check(world, imports[f"{upload.name}.zip"])
    check_effects(world, uploads)
    check_messages(world, imports.values())
    check_trouble(world, imports.values())


class Upload:
    """An archive of its own, by its number: most are good and free, a few are not."""

    def __init__(self, number: int) -> None:
        self.name = f"f{number:04}"
        kinds = {7: "other code there", 13: "same code there", 21: "damaged"}
        self.kind = kinds.get(number % 50, "good")
        text = f"def handler(event, context):\n    return {number}\n".encode()
        size = 200_000 if number % 50 == 0 else None  # too big for one packet
        self.body = make_export(self.name, code={"index.py": text}, code_size=size)
        self.code = code_of(self.body)

    def prepare(self, world: World) -> None:
        body = self.body
        if self.kind == "damaged":
            at = body.index(b"index.py")
            body = body[:at] + b"X" + body[at + 1 :]
        elif self.kind != "good":
            code = self.code if self.kind == "same code there" else b"made by somebody else"
            world.sandbox.hold(self.name, code=code)
        world.put(self.name, body)

    def check(self, world: World, delivery: Delivery) -> None:
        """What the ledger says of it is what the sandbox holds."""
        told = (delivery.state, delivery.reason or (delivery.error and delivery.error.code))
        held = world.sandbox.functions.get(self.name)
        if self.kind == "damaged":
            assert (told, held) == ((State.FAILED, "archive.crc"), None)
            return
        assert held is not None
        if self.kind == "other code there":
            assert told == (State.FAILED, "conflict.other_content")
            assert held.code.path.read_bytes() == b"made by somebody else"
            return
        # Whose the same code is cannot be told when the first 409 was lost: that it is there can.
        already = delivery.result and delivery.result.get("how") == "already there"
        unchanged = self.kind == "same code there" and not already
        assert told == ((State.SKIPPED, "unchanged") if unchanged else (State.SUCCEEDED, None))
        assert held.code.path.read_bytes() == self.code
        assert delivery.result is not None
        assert delivery.result["func_urn"] == held.urn
        assert delivery.result["digest"] == hashlib.sha512(self.code).hexdigest()


def make_trouble(world: World, chance: random.Random) -> None:
    """Queues a fault, or none, for each call that will come."""
    for _ in range(CALLS):
        world.sandbox.fault(operation="import", **picked(MIX, chance))
        world.sandbox.fault(operation="config", **picked(ASKED, chance))
    for _ in range(10):
        world.inbox.fault(operation="webhook", status=503)
        world.inbox.fault(operation="webhook", drop=True)


def picked(mix: tuple[Plan, ...], chance: random.Random) -> FaultFields:
    at = chance.random()
    for _, share, fields in mix:
        at -= share
        if at < 0:
            return fields(chance)
    return {}  # a fault without fields: the call goes well


def over(world: World) -> bool:
    return all(state.finished for _, state in world.relay.ledger.statistics.counts())


def check_effects(world: World, uploads: list[Upload]) -> None:
    """Each good archive was applied once, and nothing else was."""
    applied = Counter(call.function for call in world.sandbox.calls if call.applied)
    assert applied == {one.name: 1 for one in uploads if one.kind == "good"}


def check_messages(world: World, imports: Collection[Delivery]) -> None:
    """Each result was told once: one message in the ledger, one id in the inbox."""
    parents = Counter(one.parent for one in world.deliveries(Kind.MESSAGE))
    assert parents == {one.id: 1 for one in imports}
    took = {one.webhook_id: one.json for one in world.inbox.messages if one.status == 204}
    told = sorted((body["data"]["delivery"], body["type"]) for body in took.values())
    assert told == sorted((one.id, f"import.{one.state}") for one in imports)


def check_trouble(world: World, imports: Collection[Delivery]) -> None:
    """The trouble came: else the rest would prove nothing."""
    calls = [call for call in world.sandbox.calls if call.operation == "import"]
    lost = sum(1 for call in calls if call.applied and call.status != 200)
    assert lost > IMPORTS / 5
    assert sum(1 for call in calls if call.status == 429) >= IMPORTS / 100
    assert sum(one.attempts > 1 for one in imports) > IMPORTS / 10
    assert max(one.attempts for one in imports) > 2
