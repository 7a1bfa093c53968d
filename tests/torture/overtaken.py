"""F2, F3: a worker that was overtaken must not write over a newer upload. The final state decides.

Under `update`, a call that lands late would replace the code of the newest upload, and nothing
would show it: neither its delivery nor that of the newer upload.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.testing.sandbox.faults import Fault
from tests.torture.children import Child
from tests.torture.hosts import CODE, start_worker
from tests.torture.network import NetworkHost
from tests.torture.record import Upload
from tests.torture.scenario import POSTGRESQL, Run, scenario
from tests.torture.world import World, wait_until

STOPPED_CLOCK = {"relay.delivery.lease_clock:_BOOT_TIME": time.CLOCK_PROCESS_CPUTIME_ID}
"""The clock of a virtual machine that was paused: it does not count that time."""

LONG = "60s"
"""A call can take effect for this time: longer than the test needs on a busy machine."""


@dataclass(frozen=True, slots=True)
class Held(Fault):
    """The target receives a call, and carries it out when `released` is set."""

    released: threading.Event = field(default_factory=threading.Event)

    @property
    def has_effect(self) -> bool:
        return self.released.wait(120)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the worker is overtaken. `order`: more for its process."""

    point: str
    order: dict[str, Any] = field(default_factory=dict)


STAGES = {
    "in the middle of the upload": Stage("mid-upload"),
    "after the intent was recorded": Stage("after intent, before last bytes"),
    "without noticing it": Stage("before intent, then no renewals", {"constants": STOPPED_CLOCK}),
}


@scenario("F2", "a worker stops for longer than its lease, and a newer upload is imported")
def stopped(run: Run) -> None:
    """Stop the worker (SIGSTOP), let another one overtake it, and let it continue.

    Each stage has a world of its own, and all run at the same time. In the last one, the worker is
    killed after the last byte, and a slow target carries its call out later.
    """
    stages = [lambda stage=stage: _overtake(run, stage) for stage in STAGES.values()]
    with ThreadPoolExecutor(len(stages) + 1) as pool:
        running = [pool.submit(act) for act in (*stages, lambda: _land_late(run))]
        for each in running:
            each.result()
    run.runs = len(running)
    run.figures["stages"] = len(running)


def _overtake(run: Run, stage: Stage) -> None:
    with _world(run) as world:
        hold = _hold_file(world)
        first = _start_first(world, stage.point, hold, **stage.order)
        first.signal(signal.SIGSTOP, group=True)
        world.work(host="host-b")
        _import_newer(run, world)
        hold.unlink()
        first.signal(signal.SIGCONT, group=True)
        _wait_for_overtaken(world)
        run.must(first.alive, f"{stage.point}: the overtaken worker died")


def _land_late(run: Run) -> None:
    """A call is carried out after its worker was killed and the same delivery was repeated."""
    with _world(run, read_timeout=LONG) as world:
        world.may_repeat = True
        clock, set_clock = world.adjustable_clock()
        late = Held("update_code")
        world.sandbox.faults.add(late)
        first = world.work(point="after last byte, before response", clock=clock)
        old = _announce(world, "1", size=None)
        first.wait(60)
        world.work(clock=clock)
        wait_until(lambda: _succeeded(world) == 1, 60, world.log)
        newer = _announce(world, "2")
        wait_until(lambda: _is_waiting(world, newer) or _succeeded(world) == 2, 60, world.log)
        late.released.set()
        wait_until(lambda: all(call.finished for call in world.sandbox.calls), 30, world.log)
        set_clock(120)  # The call can no longer take effect.
        world.settle(60)
        times = world.record.effective().get((old.function, old.digest))
        run.must(times == 2, f"the call was carried out {times} times: this proves nothing")


def _is_waiting(world: World, upload: Upload) -> bool:
    query = "select version from deliveries where wait_reason = 'same function'"
    return (upload.version.id,) in world.ledger.rows(query)


@scenario("F3", "a worker is cut off, and a newer upload is imported", engines=(POSTGRESQL,))
def cut_off(run: Run) -> None:
    server = run.postgresql
    assert server is not None
    with ExitStack() as stack, _world(run) as world:
        host = stack.enter_context(NetworkHost(server.port))
        run.figures["cut by"] = f"proxy ({host.refused})" if host.refused else "veth in a netns"
        hold = _hold_file(world)

        def start(**order: Any) -> Child:
            return start_worker(world, host, "host-a", **order)

        first = _start_first(world, "mid-upload", hold, start)
        host.cut()
        started = time.monotonic()
        world.work(host="host-b")
        _import_newer(run, world)
        run.figures["overtaken after s"] = round(time.monotonic() - started, 1)
        hold.unlink()
        # The upload goes on, as far as the worker lets it, before the link is restored.
        wait_until(lambda: all(call.finished for call in world.sandbox.calls), 60, world.log)
        host.restore()
        _wait_for_overtaken(world)
        run.must(first.alive, "the worker that was cut off died")


@contextmanager
def _world(run: Run, read_timeout: str = "5s") -> Iterator[World]:
    """Create a world with a web process, and with a function of another user at the target."""
    times = {"lease": f"{run.size(3, 30)}s", "read_timeout": read_timeout}
    with run.world(on_conflict="update", **times) as world:
        world.hold("f0")
        world.serve("--no-worker")
        yield world


def _hold_file(world: World) -> Path:
    hold = world.folder / "hold"
    hold.touch()
    return hold


def _start_first(
    world: World, point: str, hold: Path, start: Callable[..., Child] | None = None, **order: Any
) -> Child:
    """Start the worker that is overtaken, and wait until it waits at the point."""
    log = str(world.folder / "host-a.log")
    start = start or (lambda **more: world.work(host="host-a", log=log, **more))
    first = start(point=point, hold=str(hold), **order)
    _announce(world, "1")
    wait_until(world.marker.exists, 30, world.log)
    return first


def _announce(world: World, mark: str, size: int | None = CODE) -> Upload:
    upload = world.upload("f0", mark, size=size)
    world.announce_all(lambda: world.children[0].url, [upload])
    return upload


def _import_newer(run: Run, world: World) -> Upload:
    """Wait until the first upload was imported after all, then import a newer one."""
    wait_until(lambda: _succeeded(world) == 1, run.size(40, 90), world.log)
    newer = _announce(world, "2")
    wait_until(lambda: _succeeded(world) == 2, run.size(40, 90), world.log)
    return newer


def _succeeded(world: World) -> int:
    return world.ledger.counts().get(("import", "succeeded"), 0)


def _wait_for_overtaken(world: World) -> None:
    """Wait until the first worker has noticed that it lost its lease, and ended its call."""
    log = world.folder / "host-a.log"
    wait_until(lambda: "lease lost" in log.read_text(), 60, world.log)
    wait_until(lambda: all(call.finished for call in world.sandbox.calls), 30, world.log)
    world.settle(30)
