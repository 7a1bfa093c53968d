"""T1, F1, M2: workers on several hosts: takeover, a partition, an upload longer than the lease."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic, time
from typing import Any

from tests.torture.children import Child
from tests.torture.network import NetworkHost
from tests.torture.record import Upload
from tests.torture.scenario import POSTGRESQL, SQLITE, Run, scenario
from tests.torture.world import World, wait_until

CODE = 1_200_000


# In CI on SQLite only: F1 starts with the same steps on PostgreSQL.
@scenario("T1", "a worker is killed, one on another host takes over", in_ci=(SQLITE,))
def takeover(run: Run) -> None:
    lease = run.size(3, 30)
    with run.world(lease=f"{lease}s", read_timeout="60s") as world:
        web = world.serve("--no-worker")
        first = world.work(host="host-a")
        upload = world.upload("f0", size=CODE)
        world.sandbox.fault(operation="import", trickle=200_000)
        world.announce_all(lambda: web.url, [upload])
        wait_until(lambda: _is_uploading(world), 20, world.log)
        world.work(host="host-b")
        killed = time()
        first.kill()
        world.settle(lease + 30)
        after = _ended(world) - killed
        run.figures |= {"lease s": lease, "done after s": round(after, 1)}
        run.must(after <= lease + run.size(20, 8), f"the other host needed {after:.1f} s")


@scenario("F1", "a worker is cut off from PostgreSQL", engines=(POSTGRESQL,))
def cut_off(run: Run) -> None:
    lease = run.size(3, 30)
    server = run.postgresql
    assert server is not None
    with ExitStack() as stack, run.world(lease=f"{lease}s", read_timeout="120s") as world:
        hosts = [stack.enter_context(NetworkHost(server.port)) for _ in range(3)]
        refused = hosts[0].refused
        run.figures["cut by"] = f"proxy ({refused})" if refused else "veth in a netns"
        web = world.serve("--no-worker")
        _kill_first_worker(run, world, web, hosts)
        upload = world.upload("f1", size=CODE)
        world.sandbox.fault(operation="import", trickle=int(CODE * 1.34 / (2.5 * lease)))
        known = len(world.sandbox.calls)
        partitioned = start_worker(world, hosts[1], "host-b")
        world.announce_all(lambda: web.url, [upload])
        wait_until(lambda: _is_uploading(world, known), 30, world.log)
        hosts[1].cut()
        started = time()
        start_worker(world, hosts[2], "host-c")
        _check_takeover(run, world, started, lease)
        world.settle(lease + 60)
        before, outcomes = _delivery_rows(world), _attempts(world, upload)
        # The upload continues to the end. Then the link is restored, and the worker tries to write.
        wait_until(lambda: all(c.finished for c in world.sandbox.calls[known:]), 4 * lease + 30)
        hosts[1].restore()
        wait_until(lambda: "lease lost" in (world.folder / "host-b.log").read_text(), 60, world.log)
        run.must(_delivery_rows(world) == before, "the partitioned worker wrote to the ledger")
        run.figures["its attempts"] = [outcome for _, outcome in outcomes]
        run.must(partitioned.alive, "the partitioned worker died")
        run.runs = 2


def _kill_first_worker(run: Run, world: World, web: Child, hosts: list[NetworkHost]) -> None:
    """Kill a worker during an upload; a worker on another host repeats it."""
    first = start_worker(world, hosts[0], "host-a")
    world.sandbox.fault(operation="import", trickle=200_000)
    world.announce_all(lambda: web.url, [world.upload("f0", size=CODE)])
    wait_until(lambda: _is_uploading(world), 30, world.log)
    first.kill()
    killed = time()
    second = start_worker(world, hosts[1], "host-b")
    world.settle(60)
    run.figures["after a kill s"] = round(_ended(world) - killed, 1)
    second.kill()
    (world.folder / "host-b.log").write_text("")


def _check_takeover(run: Run, world: World, started: float, lease: int) -> None:
    query = "select count(*) from attempts where outcome = 'lost'"
    lost = world.ledger.rows(query)[0][0]
    wait_until(lambda: world.ledger.rows(query)[0][0] > lost, lease + 30, world.log)
    after = time() - started
    run.figures["taken over after s"] = round(after, 1)
    run.must(after <= lease + run.size(20, 8), f"taken over after {after:.1f} s")


def start_worker(world: World, host: NetworkHost, name: str, **order: Any) -> Child:
    path = world.folder / f"{name}.toml"
    path.write_text(host.rewrite(world.path.read_text()))
    order |= {"host": name, "log": str(world.folder / f"{name}.log")}
    if host.netns:
        order["netns"] = host.netns
    return world.start("work", config=str(path), **order)


def _delivery_rows(world: World) -> list[list[tuple[object, ...]]]:
    """Return all rows that a worker writes. They are final once all deliveries have finished."""
    order = {"deliveries": "id", "attempts": "delivery_id, number", "functions": "function"}
    return [
        world.ledger.rows(f"select * from {table} order by {by}") for table, by in order.items()
    ]


def _attempts(world: World, upload: Upload) -> list[tuple[int, str]]:
    query = f"""select a.number, a.outcome from attempts a join deliveries d on d.id = a.delivery_id
        where d.kind = 'import' and d.key = '{upload.version.key}' order by a.number"""
    return [(number, outcome) for number, outcome in world.ledger.rows(query)]


def _is_uploading(world: World, first_call: int = 0) -> bool:
    return any(call.received > 10_000 for call in world.sandbox.calls[first_call:])


def _ended(world: World) -> float:
    query = "select max(finished) from deliveries where kind = 'import'"
    return float(world.ledger.rows(query)[0][0]) / 1e6


@scenario("M2", "an upload longer than any lease, two workers")
def trickle(run: Run) -> None:
    seconds, lease = run.size(6, 180), run.size(2, 30)
    with run.world(lease=f"{lease}s", read_timeout="240s") as world:
        web = world.serve("--no-worker")
        for name in ("host-a", "host-b"):
            world.work(host=name)
        upload = world.upload("f0", size=CODE)
        world.sandbox.fault(operation="import", trickle=int(CODE * 1.34 / seconds))
        started = monotonic()
        world.announce_all(lambda: web.url, [upload])
        leases = set()
        query = "select leased_until from deliveries where kind = 'import' and state = 'running'"

        def is_finished() -> bool:
            leases.update(leased_until for (leased_until,) in world.ledger.rows(query))
            return world.ledger.counts().get(("import", "succeeded"), 0) == 1

        wait_until(is_finished, 2 * seconds + 60, world.log, interval=0.3)
        took = monotonic() - started
        attempts, calls = _attempts(world, upload), len(world.record.import_calls)
        world.settle(30)
        run.figures |= {"s": round(took), "heartbeats seen": len(leases) - 1, "starts": calls}
        run.must(attempts == [(1, "succeeded")], f"attempts {attempts}")
        run.must(calls == 1, f"{calls} uploads were started")
        run.must(len(leases) > 2, "no heartbeat was seen")
        run.must(took > 2 * lease, "the upload was shorter than two leases: this proves nothing")
