"""A1 to A3, A6: a target that is busy, broken, ambiguous, or wants a new token."""

from __future__ import annotations

import random
from time import monotonic, time

from tests.torture.scenario import Run, scenario
from tests.torture.world import World, until

PROBE = "relay.ledger.destinations:PROBE_EVERY"


@scenario("A1", "429 + Retry-After to every call")
def busy(run: Run) -> None:
    window, number = run.size(4, 60), run.size(20, 200)
    with run.world(workers=4, concurrency=4) as world:
        uploads = [world.upload(f"f{n:03}") for n in range(number)]
        web = world.serve("--no-worker")
        world.tell(lambda: web.url, uploads)
        world.sandbox.fault(operation="import", status=429, retry_after=window, times=None)
        world.work()
        until(lambda: world.record.import_calls, 20, world.log)
        first = world.record.import_calls[0][0].timestamp()
        until(lambda: time() > first + window - 0.3, window + 5)
        during = len(world.record.import_calls)
        world.sandbox.faults.clear()
        world.settle(run.size(60, 300))
        failed = world.ledger.counts().get(("import", "failed"), 0)
        run.runs = number
        run.figures |= {"calls in the window": during, "failed": failed}
        run.figures["messages about the target"] = told = len(about_target(world))
        run.must(during <= 5, f"{during} calls while the target wanted none")
        run.must(not failed, f"{failed} failed")
        run.must(told <= 1, f"{told} messages about the target")


@scenario("A2", "5xx at 30 %, then at 100 %")
def broken(run: Run) -> None:
    number, outage = run.size(40, 500), run.size(6, 300)
    probe = run.size(2, 30)
    constants = {PROBE: {"seconds": probe}} if run.quick else {}
    chance = random.Random(2)
    with run.world(workers=4, concurrency=4) as world:
        for _ in range(number // 2):
            some = {"status": chance.choice((500, 502, 503, 504))} if chance.random() < 0.3 else {}
            world.sandbox.fault(operation="import", **some)
        world.sandbox.fault(operation="import", status=503, times=None)
        web = world.serve("--no-worker", constants=constants)
        world.work(constants=constants)
        uploads = [world.upload(f"f{n:03}") for n in range(number)]
        world.tell(lambda: web.url, uploads)
        until(
            lambda: world.ledger.rows("select 1 from gates where down is not null"), 60, world.log
        )
        began, before = monotonic(), len(world.record.import_calls)
        until(lambda: monotonic() > began + outage, outage + 5, nap=0.2)
        probes = len(world.record.import_calls) - before
        failures = _failures_before(world, before)
        world.sandbox.faults.clear()
        world.settle(run.size(60, 300))
        turned = about_target(world)
        run.runs = number
        run.figures |= {"failures until down": failures, "probes": probes, "told": turned}
        # Those under way when the tenth fails come to their end as well.
        run.must(
            failures <= 10 + world.options.concurrency - 1,
            f"{failures} failures in a row before it counted as down",
        )
        run.must(probes <= outage / probe + 4, f"{probes} calls in {outage} s of outage")
        run.must(turned == ["target.down", "target.up"], f"told: {turned}")


@scenario("A3", "applies and drops, or answers too late")
def ambiguous(run: Run) -> None:
    number = run.size(40, 1000)
    chance = random.Random(3)
    with run.world(read_timeout="1s", workers=8, concurrency=8) as world:
        for _ in range(number):
            at = chance.random()
            fault = {"commit": True, "drop": True} if at < 0.2 else {}
            if 0.2 <= at < 0.25:
                fault = {"delay": 2.0}  # it acts first, and then takes its time
            world.sandbox.fault(operation="import", **fault)
        url = world.serve().url
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        world.tell(lambda: url, uploads)
        world.settle(run.size(60, 600))
        world.quiet()
        counts = world.ledger.counts()
        effective = sum(world.record.effective().values())
        run.runs = number
        run.figures |= {"failed": counts.get(("import", "failed"), 0), "effective": effective}
        run.figures["answers lost"] = lost = sum(
            1 for _, _, status in world.record.import_calls if status is None
        )
        run.must(effective == number, f"{effective} effective imports of {number}")
        run.must(counts.get(("import", "succeeded")) == number, f"{counts}")
        run.must(lost > number / 20, "hardly any answer was lost: this proves nothing")


@scenario("A6", "the token is refused in the middle, then renewed")
def expired(run: Run) -> None:
    number = run.size(10, 50)
    with run.world(target='auth = "token"') as world:
        url = world.serve().url
        for n in range(number):
            world.sandbox.fault(operation="import", status=401, code="APIGW.0307")
            world.tell(lambda: url, [world.upload(f"f{n:03}")])
            world.settle(30)
        attempts = {one.attempts for one in world.ledger.deliveries("import")}
        run.runs = number
        run.figures |= {"attempts each": attempts, "calls": len(world.record.import_calls)}
        run.must(attempts == {1}, f"attempts {attempts}: a renewal counted as one")


def about_target(world: World) -> list[str]:
    """The types of the messages about the target itself, one for each id, in order."""
    took = {m.webhook_id: m.json["type"] for m in world.inbox.messages if m.json}
    return [kind for kind in took.values() if kind.startswith("target.")]


def _failures_before(world: World, end: int) -> int:
    """How many calls in a row had failed when it counted as down."""
    row = 0
    for _, _, status in reversed(world.record.import_calls[:end]):
        if status == 200:
            break
        row += 1
    return row
