"""Imports to a target that loses responses, fails, stalls and resets: no result is false."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Collection

import pytest

from relay.model import Delivery, Json, Kind, State
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of, until

IMPORTS = int(os.environ.get("CHAOS_IMPORTS", "200"))
"""CI has two cores and twelve minutes; a thousand imports take a minute and a half there."""

CALLS = IMPORTS * 9 // 5
"""Import calls with a planned fault or none; later calls succeed."""

READ_TIMEOUT = 0.5
TIMEOUT = 400.0
"""Seconds, for busy machines; two idle cores need about twenty."""

Plan = tuple[str, float, Callable[[random.Random], Json]]
BROKEN = (500, 502, 503, 504)

IMPORT_MIX: tuple[Plan, ...] = (
    ("acts, then drops", 0.20, lambda _: {"commit": True, "drop": True}),
    ("5xx before acting", 0.10, lambda chance: {"status": chance.choice(BROKEN)}),
    ("5xx after acting", 0.10, lambda chance: {"status": chance.choice(BROKEN), "commit": True}),
    ("429", 0.02, lambda _: {"status": 429, "retry_after": 1}),
    ("answers late", 0.02, lambda _: {"delay": 2 * READ_TIMEOUT}),
    ("acts late", 0.01, lambda _: {"trickle": 1_000}),
    ("resets in the middle", 0.02, lambda chance: {"cut_after": chance.randint(1, 900)}),
)
"""Faults of import calls and how often they occur; the other calls succeed."""

LOOKUP_MIX: tuple[Plan, ...] = (
    ("answers 503", 0.05, lambda _: {"status": 503}),
    ("drops", 0.05, lambda _: {"drop": True}),
)
"""The same for lookups of functions."""


@pytest.mark.parametrize("seed", [20261124])
def test_many_imports_end_without_false_results_and_without_repeated_effects(
    make_world: Callable[..., World], seed: int
) -> None:
    # The clock runs fast: otherwise most of the time would be spent waiting for Retry-After.
    world = make_world(workers=8, read_timeout=f"{int(READ_TIMEOUT * 1000)}ms", clock_rate=8)
    uploads = [Upload(number) for number in range(IMPORTS)]
    for upload in uploads:
        upload.prepare(world)
    make_trouble(world, random.Random(seed))
    world.announce()
    world.relay.worker.start()
    try:
        until(lambda: all_finished(world), TIMEOUT, interval=1)
    finally:
        world.relay.worker.stop(5)
    imports = {delivery.key: delivery for delivery in world.deliveries(Kind.IMPORT)}
    assert len(imports) == IMPORTS
    for upload in uploads:
        upload.check(world, imports[f"{upload.name}.zip"])
    check_effects(world, uploads)
    check_messages(world, imports.values())
    check_trouble(world, imports.values())


class Upload:
    """An archive, derived from a number: most are good and have a free name."""

    def __init__(self, number: int) -> None:
        self.name = f"f{number:04}"
        kinds = {7: "other code there", 13: "same code there", 21: "damaged"}
        self.kind = kinds.get(number % 50, "good")
        text = f"def handler(event, context):\n    return {number}\n".encode()
        size = 200_000 if number % 50 == 0 else None  # too big for a single packet
        self.body = make_export(self.name, code={"index.py": text}, code_size=size)
        self.code = code_of(self.body)

    def prepare(self, world: World) -> None:
        body = self.body
        if self.kind == "damaged":
            at = body.index(b"index.py")
            body = body[:at] + b"X" + body[at + 1 :]
        elif self.kind != "good":
            code = self.code if self.kind == "same code there" else b"made by another client"
            world.sandbox.hold(self.name, code=code)
        world.put(self.name, body)

    def check(self, world: World, delivery: Delivery) -> None:
        """Check that the ledger and the sandbox agree about this upload."""
        result = (delivery.state, delivery.reason or (delivery.error and delivery.error.code))
        function = world.sandbox.functions.get(self.name)
        if self.kind == "damaged":
            assert (result, function) == ((State.FAILED, "archive.crc"), None)
            return
        assert function is not None
        if self.kind == "other code there":
            assert result == (State.FAILED, "conflict.other_content")
            assert function.code.path.read_bytes() == b"made by another client"
            return
        # If the first 409 was lost, equal code may be ours or foreign; both outcomes are true.
        already = delivery.result and delivery.result.get("how") == "already there"
        unchanged = self.kind == "same code there" and not already
        assert result == ((State.SKIPPED, "unchanged") if unchanged else (State.SUCCEEDED, None))
        assert function.code.path.read_bytes() == self.code
        assert delivery.result is not None
        assert delivery.result["func_urn"] == function.urn
        assert delivery.result["digest"] == hashlib.sha512(self.code).hexdigest()


def make_trouble(world: World, chance: random.Random) -> None:
    """Queue a fault, or none, for each coming call."""
    for _ in range(CALLS):
        world.sandbox.fault(operation="import", **pick_fault(IMPORT_MIX, chance))
        world.sandbox.fault(operation="config", **pick_fault(LOOKUP_MIX, chance))
    for _ in range(10):
        world.inbox.fault(operation="webhook", status=503)
        world.inbox.fault(operation="webhook", drop=True)


def pick_fault(mix: tuple[Plan, ...], chance: random.Random) -> Json:
    at = chance.random()
    for _, share, fields in mix:
        at -= share
        if at < 0:
            return fields(chance)
    return {}  # a fault without fields: the call goes well


def all_finished(world: World) -> bool:
    return all(state.finished for _, state in world.relay.ledger.statistics.counts())


def check_effects(world: World, uploads: list[Upload]) -> None:
    """Each good archive was applied once, and nothing else was applied."""
    applied = Counter(call.function for call in world.sandbox.calls if call.applied)
    assert applied == {upload.name: 1 for upload in uploads if upload.kind == "good"}


def check_messages(world: World, imports: Collection[Delivery]) -> None:
    """Each result was posted once: a single message in the ledger and a single id in the inbox."""
    parents = Counter(message.parent for message in world.deliveries(Kind.MESSAGE))
    assert parents == {delivery.id: 1 for delivery in imports}
    bodies = {m.webhook_id: m.json for m in world.inbox.messages if m.status == 204}
    result = sorted((body["data"]["delivery"], body["type"]) for body in bodies.values())
    assert result == sorted((delivery.id, f"import.{delivery.state}") for delivery in imports)


def check_trouble(world: World, imports: Collection[Delivery]) -> None:
    """Enough faults occurred; otherwise the other checks would prove nothing."""
    calls = [call for call in world.sandbox.calls if call.operation == "import"]
    lost = sum(1 for call in calls if call.applied and call.status != 200)
    assert lost > IMPORTS / 5
    assert sum(1 for call in calls if call.status == 429) >= IMPORTS / 100
    assert sum(delivery.attempts > 1 for delivery in imports) > IMPORTS / 10
    assert max(delivery.attempts for delivery in imports) > 2
