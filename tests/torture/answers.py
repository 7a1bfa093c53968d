"""A1 to A3, A6, A7: a target that throttles, fails, loses responses, or expires the token."""

from __future__ import annotations

import random
from time import monotonic, time

from tests.torture.scenario import Run, scenario
from tests.torture.world import World, wait_until

PROBE = "relay.ledger.destinations:PROBE_EVERY"


@scenario("A1", "429 + Retry-After to every call")
def busy(run: Run) -> None:
    window, number = run.size(4, 60), run.size(20, 200)
    with run.world(workers=4, concurrency=4) as world:
        uploads = [world.upload(f"f{n:03}") for n in range(number)]
        web = world.serve("--no-worker")
        world.announce_all(lambda: web.url, uploads)
        world.sandbox.fault(operation="import", status=429, retry_after=window, times=None)
        world.work()
        wait_until(lambda: world.record.import_calls, 20, world.log)
        first = world.record.import_calls[0][0].timestamp()
        wait_until(lambda: time() > first + window - 0.3, window + 5)
        during = len(world.record.import_calls)
        world.sandbox.faults.clear()
        world.settle(run.size(60, 300))
        failed = world.ledger.counts().get(("import", "failed"), 0)
        run.runs = number
        run.figures |= {"calls in the window": during, "failed": failed}
        run.figures["messages about the target"] = messages = len(target_messages(world))
        run.must(during <= 5, f"{during} calls within Retry-After")
        run.must(not failed, f"{failed} failed")
        run.must(messages <= 1, f"{messages} messages about the target")


@scenario("A2", "5xx at 30 %, then at 100 %")
def broken(run: Run) -> None:
    number, outage = run.size(40, 500), run.size(6, 300)
    probe = run.size(2, 30)
    constants = {PROBE: {"seconds": probe}} if run.quick else {}
    chance = random.Random(2)
    with run.world(workers=4, concurrency=4) as world:
        for _ in range(number // 2):
            fault = {"status": chance.choice((500, 502, 503, 504))} if chance.random() < 0.3 else {}
            world.sandbox.fault(operation="import", **fault)
        world.sandbox.fault(operation="import", status=503, times=None)
        web = world.serve("--no-worker", constants=constants)
        world.work(constants=constants)
        uploads = [world.upload(f"f{n:03}") for n in range(number)]
        world.announce_all(lambda: web.url, uploads)
        wait_until(
            lambda: world.ledger.rows("select 1 from gates where down is not null"), 60, world.log
        )
        started, before = monotonic(), len(world.record.import_calls)
        wait_until(lambda: monotonic() > started + outage, outage + 5, interval=0.2)
        probes = len(world.record.import_calls) - before
        failures = _failures_before(world, before)
        world.sandbox.faults.clear()
        world.settle(run.size(60, 300))
        messages = target_messages(world)
        run.runs = number
        run.figures |= {"failures until down": failures, "probes": probes, "messages": messages}
        # Calls in progress at the tenth failure also finish.
        run.must(
            failures <= 10 + world.options.concurrency - 1,
            f"{failures} failures in a row before it counted as down",
        )
        run.must(probes <= outage / probe + 4, f"{probes} calls in {outage} s of outage")
        run.must(messages == ["target.down", "target.up"], f"messages: {messages}")


@scenario("A3", "applies and drops, or answers too late")
def ambiguous(run: Run) -> None:
    number = run.size(40, 1000)
    chance = random.Random(3)
    with run.world(read_timeout="1s", workers=8, concurrency=8) as world:
        for _ in range(number):
            draw = chance.random()
            fault = {"commit": True, "drop": True} if draw < 0.2 else {}
            if 0.2 <= draw < 0.25:
                fault = {"delay": 2.0}  # applies the call, then responds too late
            world.sandbox.fault(operation="import", **fault)
        url = world.serve().url
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        world.announce_all(lambda: url, uploads)
        world.settle(run.size(60, 600))
        world.wait_for_sandbox()
        counts = world.ledger.counts()
        effective = sum(world.record.effective().values())
        run.runs = number
        run.figures |= {"failed": counts.get(("import", "failed"), 0), "effective": effective}
        run.figures["answers lost"] = lost = sum(
            1 for _, _, status in world.record.import_calls if status is None
        )
        run.must(effective == number, f"{effective} effective imports of {number}")
        run.must(counts.get(("import", "succeeded")) == number, f"{counts}")
        run.must(lost > number / 20, "almost no response was lost: this proves nothing")


@scenario("A6", "the token is refused in the middle, then renewed")
def expired(run: Run) -> None:
    number = run.size(10, 50)
    with run.world(target='auth = "token"') as world:
        url = world.serve().url
        for n in range(number):
            world.sandbox.fault(operation="import", status=401, code="APIGW.0307")
            world.announce_all(lambda: url, [world.upload(f"f{n:03}")])
            world.settle(30)
        attempts = {row.attempts for row in world.ledger.deliveries("import")}
        run.runs = number
        run.figures |= {"attempts each": attempts, "calls": len(world.record.import_calls)}
        run.must(attempts == {1}, f"attempts {attempts}: a renewal counted as an attempt")


@scenario("A7", "429 and 503 with Retry-After, far more often than `attempts`")
def storm(run: Run) -> None:
    """A request to wait costs no try: neither an import nor a message is lost."""
    attempts, number = 2, run.size(3, 6)
    least = run.size(4, 20) * attempts
    constants = {PROBE: {"seconds": 1}}
    with run.world(attempts=attempts) as world:
        url = world.serve(constants=constants).url
        world.inbox.fault(operation="webhook", status=429, retry_after=1, times=None)
        silent = [world.upload(f"m{n:03}") for n in range(number)]
        world.announce_all(lambda: url, silent)
        wait_until(lambda: len(world.record.applied) == number, 60, world.log)
        for turn in range(1000):
            fault = {"status": 503 if turn % 2 else 429, "retry_after": 1}
            world.sandbox.fault(operation="import", **fault)
        uploads = [world.upload(f"f{n:03}") for n in range(number)]
        world.announce_all(lambda: url, uploads)
        for kind in ("import", "message"):
            wait_until(lambda kind=kind: _most_attempts(world, kind) >= least, 600, world.log)
        world.sandbox.faults.clear()
        world.inbox.faults.clear()
        world.settle(run.size(60, 600))
        run.runs = 2 * number
        most = {kind: _most_attempts(world, kind) for kind in ("import", "message")}
        run.figures |= {"attempts": attempts, "asked to wait": most}
        succeeded = world.ledger.counts().get(("import", "succeeded"), 0)
        run.must(succeeded == 2 * number, f"{succeeded} of {2 * number} succeeded")


def _most_attempts(world: World, kind: str) -> int:
    query = f"select coalesce(max(attempts), 0) from deliveries where kind = '{kind}'"
    return int(world.ledger.rows(query)[0][0])


def target_messages(world: World) -> list[str]:
    """Return the types of the messages about the target, without repeated posts, in order."""
    types = {m.webhook_id: m.json["type"] for m in world.inbox.messages if m.json}
    return [kind for kind in types.values() if kind.startswith("target.")]


def _failures_before(world: World, end: int) -> int:
    """Count the consecutive failed calls before the target was marked as down."""
    failures = 0
    for _, _, status in reversed(world.record.import_calls[:end]):
        if status == 200:
            break
        failures += 1
    return failures
