"""T1, F1, M2: workers on other hosts: takeover, a worker cut off, an upload beyond all leases."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic, time

from tests.torture.children import Child
from tests.torture.network import Place
from tests.torture.record import Upload
from tests.torture.scenario import POSTGRESQL, SQLITE, Run, scenario
from tests.torture.world import World, until

CODE = 1_200_000


# In CI on SQLite alone: F1 begins with the same on PostgreSQL.
@scenario("T1", "a worker is killed, one on another host takes over", in_ci=(SQLITE,))
def takeover(run: Run) -> None:
    lease = run.size(3, 30)
    with run.world(lease=f"{lease}s", read_timeout="60s") as world:
        web = world.serve("--no-worker")
        first = world.work(place="host-a")
        upload = world.upload("f0", size=CODE)
        world.sandbox.fault(operation="import", trickle=200_000)
        world.tell(lambda: web.url, [upload])
        until(lambda: any(call.received > 10_000 for call in world.sandbox.calls), 20, world.log)
        world.work(place="host-b")
        killed = time()
        first.kill()
        world.settle(lease + 30)
        after = _ended(world) - killed
        run.figures |= {"lease s": lease, "done after s": round(after, 1)}
        run.must(after <= lease + run.size(20, 5), f"another host needed {after:.1f} s")


@scenario("F1", "a worker is cut off from PostgreSQL", engines=(POSTGRESQL,))
def cut_off(run: Run) -> None:
    lease = run.size(3, 30)
    server = run.postgresql
    assert server is not None
    with ExitStack() as stack, run.world(lease=f"{lease}s", read_timeout="120s") as world:
        places = [stack.enter_context(Place(server.port)) for _ in range(3)]
        refused = places[0].refused
        run.figures["cut by"] = f"proxy ({refused})" if refused else "veth in a netns"
        web = world.serve("--no-worker")
        _first_killed(run, world, web, places)
        upload = world.upload("f1", size=CODE)
        world.sandbox.fault(operation="import", trickle=int(CODE * 1.34 / (2.5 * lease)))
        known = len(world.sandbox.calls)
        cut = _work(world, places[1], "host-b")
        world.tell(lambda: web.url, [upload])
        until(lambda: any(c.received > 10_000 for c in world.sandbox.calls[known:]), 30, world.log)
        places[1].cut()
        began = time()
        _work(world, places[2], "host-c")
        _taken_over(run, world, began, lease)
        world.settle(lease + 60)
        before, outcomes = _written(world), _attempts(world, upload)
        # Its upload goes on to the end; then the wire is mended, and it wants to write.
        until(lambda: all(c.finished for c in world.sandbox.calls[known:]), 4 * lease + 30)
        places[1].mend()
        until(lambda: "lease lost" in (world.folder / "host-b.log").read_text(), 60, world.log)
        run.must(_written(world) == before, "the cut-off worker wrote after all")
        run.figures["its attempts"] = [outcome for _, outcome in outcomes]
        run.must(cut.alive, "the cut-off worker died of it")
        run.runs = 2


def _first_killed(run: Run, world: World, web: Child, places: list[Place]) -> None:
    """The first part: killed in the middle; the other one, elsewhere, does it."""
    first = _work(world, places[0], "host-a")
    world.sandbox.fault(operation="import", trickle=200_000)
    world.tell(lambda: web.url, [world.upload("f0", size=CODE)])
    until(lambda: any(call.received > 10_000 for call in world.sandbox.calls), 30, world.log)
    first.kill()
    killed = time()
    second = _work(world, places[1], "host-b")
    world.settle(60)
    run.figures["after a kill s"] = round(_ended(world) - killed, 1)
    second.kill()
    (world.folder / "host-b.log").write_text("")


def _taken_over(run: Run, world: World, began: float, lease: int) -> None:
    query = "select count(*) from attempts where outcome = 'lost'"
    lost = world.ledger.rows(query)[0][0]
    until(lambda: world.ledger.rows(query)[0][0] > lost, lease + 30, world.log)
    after = time() - began
    run.figures["taken over after s"] = round(after, 1)
    run.must(after <= lease + run.size(20, 5), f"taken over after {after:.1f} s")


def _work(world: World, place: Place, name: str) -> Child:
    path = world.folder / f"{name}.toml"
    path.write_text(place.rewritten(world.path.read_text()))
    order = {"place": name, "log": str(world.folder / f"{name}.log")}
    if place.netns:
        order["netns"] = place.netns
    return world.start("work", config=str(path), **order)


def _written(world: World) -> list[list[tuple[object, ...]]]:
    """All that a worker may write about deliveries: once all have ended it stays as it is."""
    order = {"deliveries": "id", "attempts": "delivery_id, number", "functions": "function"}
    return [world.ledger.rows(f"select * from {one} order by {by}") for one, by in order.items()]


def _attempts(world: World, upload: Upload) -> list[tuple[int, str]]:
    query = f"""select a.number, a.outcome from attempts a join deliveries d on d.id = a.delivery_id
        where d.kind = 'import' and d.key = '{upload.version.key}' order by a.number"""
    return [(number, outcome) for number, outcome in world.ledger.rows(query)]


def _ended(world: World) -> float:
    query = "select max(finished) from deliveries where kind = 'import'"
    return float(world.ledger.rows(query)[0][0]) / 1e6


@scenario("M2", "an upload longer than any lease, two workers")
def trickle(run: Run) -> None:
    seconds, lease = run.size(6, 180), run.size(2, 30)
    with run.world(lease=f"{lease}s", read_timeout="240s") as world:
        web = world.serve("--no-worker")
        for name in ("host-a", "host-b"):
            world.work(place=name)
        upload = world.upload("f0", size=CODE)
        world.sandbox.fault(operation="import", trickle=int(CODE * 1.34 / seconds))
        began = monotonic()
        world.tell(lambda: web.url, [upload])
        leases = set()
        query = "select leased_until from deliveries where kind = 'import' and state = 'running'"

        def over() -> bool:
            leases.update(until_ for (until_,) in world.ledger.rows(query))
            return world.ledger.counts().get(("import", "succeeded"), 0) == 1

        until(over, 2 * seconds + 60, world.log, nap=0.3)
        took = monotonic() - began
        attempts, calls = _attempts(world, upload), len(world.record.import_calls)
        world.settle(30)
        run.figures |= {"s": round(took), "heartbeats seen": len(leases) - 1, "starts": calls}
        run.must(attempts == [(1, "succeeded")], f"attempts {attempts}")
        run.must(calls == 1, f"{calls} uploads were started")
        run.must(len(leases) > 2, "no heartbeat was seen")
        run.must(took > 2 * lease, "it was not longer than the lease: this proves nothing")
