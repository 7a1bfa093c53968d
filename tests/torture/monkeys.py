"""K2 to K4: processes are killed at random, PostgreSQL stops repeatedly, continuous restarts."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from tests.torture.children import Child
from tests.torture.record import Upload
from tests.torture.scenario import POSTGRESQL, SQLITE, Run, scenario
from tests.torture.world import WaitTimeout, World, free_port, wait_until

FAULTS = (
    {"status": 409, "code": "FSS.1061"},
    {"status": 500},
    {"status": 503},
    {"drop": True, "commit": True},
    {"delay": 2.0},
)


class Supervisor:
    """Restarts a web process and some workers when they die."""

    def __init__(self, world: World, workers: int) -> None:
        self.world = world
        self.port = free_port()
        self._starters: list[Callable[[], Child]] = [
            lambda: world.serve(port=self.port, ready=False),
            *[world.work] * workers,
        ]
        self.children = [start() for start in self._starters]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def restart_dead(self) -> None:
        for index, child in enumerate(self.children):
            if not child.alive:
                self.children[index] = self._starters[index]()

    def kill_random(self, chance: random.Random) -> None:
        """Kill a relay with all processes, or only the worker process of gunicorn."""
        victim = chance.choice(self.children)
        forked = children_of(victim.pid)
        if forked and chance.random() < 0.5:
            os.kill(forked[0], signal.SIGKILL)
        else:
            victim.kill()


def children_of(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in children.split()]


@contextmanager
def _repeat_in_background(act: Callable[[], float]) -> Iterator[None]:
    """Call `act` repeatedly in a thread. It returns the seconds to wait before the next call."""
    stop, errors = threading.Event(), []

    def repeat() -> None:
        try:
            while not stop.wait(act()):
                pass
        except Exception as error:  # noqa: BLE001 - raised again in the scenario
            errors.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


@scenario("K2", "a random process dies every 0.5-4 s; 5 % of the calls go wrong")
def processes(run: Run) -> None:
    chance = random.Random(20)
    number = run.size(80 if run.engine == SQLITE else 50, 5000)
    with _faulty_world(run, number) as (world, uploads):
        supervisor = Supervisor(world, workers=1)
        kills = [0]

        def kill() -> float:
            if run.quick:
                _wait_for_progress(world)
            else:
                sleep(chance.uniform(0.5, 4))
            supervisor.kill_random(chance)
            supervisor.restart_dead()
            kills[0] += 1
            return 0

        with _repeat_in_background(kill):
            _announce_all(
                run, world, lambda: supervisor.url, uploads, disturbed=lambda: kills[0] > 0
            )
        supervisor.restart_dead()
        world.settle(300)
        run.figures["kills"] = kills[0]
        _check_all_succeeded(run, world)


def _wait_for_progress(world: World) -> None:
    """Wait until 20 more deliveries have succeeded.

    The short run counts deliveries instead of seconds, so that it works on slow and fast machines.
    """

    def succeeded() -> int:
        return sum(n for (_, state), n in world.ledger.counts().items() if state == "succeeded")

    before = succeeded()
    with suppress(WaitTimeout):  # fewer are left
        wait_until(lambda: succeeded() >= before + 20, 5, interval=0.05)


@scenario(
    "K3",
    "PostgreSQL stops every 5-40 s for 0-2 s",
    engines=(POSTGRESQL,),
    alone=True,
)
def database(run: Run) -> None:
    chance = random.Random(30)
    server = run.postgresql
    assert server is not None
    with _faulty_world(run, run.size(80, 5000)) as (world, uploads):
        supervisor = Supervisor(world, workers=2)
        stops: Counter[str] = Counter()

        def stop() -> float:
            if run.quick:
                _wait_for_progress(world)
            else:
                sleep(chance.uniform(5, 40))
            mode = chance.choice((signal.SIGINT, signal.SIGQUIT))
            server.stop(mode)
            sleep(chance.uniform(0, 2))
            server.start()
            stops[mode.name] += 1
            supervisor.restart_dead()  # a process that started without a database has exited
            return 0

        with _repeat_in_background(stop):
            _announce_all(
                run, world, lambda: supervisor.url, uploads, disturbed=lambda: bool(stops)
            )
        world.settle(300)
        run.figures["stops"] = dict(stops)
        _check_all_succeeded(run, world)


@contextmanager
def _faulty_world(run: Run, number: int) -> Iterator[tuple[World, list[Upload]]]:
    chance = random.Random(2)
    with run.world(read_timeout="1s", workers=4, concurrency=8, lease="10s") as world:
        for _ in range(2 * number):
            fault = chance.choice(FAULTS) if chance.random() < 0.05 else {}
            world.sandbox.fault(operation="import", **fault)
        yield world, [world.upload(f"f{n:05}") for n in range(number)]


def _announce_all(
    run: Run,
    world: World,
    url: Callable[[], str],
    uploads: list[Upload],
    disturbed: Callable[[], bool],
) -> None:
    """Announce all uploads and wait until they have finished.

    The last quarter is sent only after the first disturbance, so that every run has some.
    """
    started, first_part = monotonic(), len(uploads) * 3 // 4
    world.announce_all(url, uploads[:first_part], threads=4)
    wait_until(disturbed, 120, world.log)
    world.announce_all(url, uploads[first_part:], threads=4)
    world.settle(run.size(120, 1800))
    run.runs = len(uploads)
    run.figures["events/s"] = round(len(uploads) / (monotonic() - started), 1)


def _check_all_succeeded(run: Run, world: World) -> None:
    world.wait_for_sandbox()
    counts = world.ledger.counts()
    succeeded = counts.get(("import", "succeeded"), 0)
    failed = counts.get(("import", "failed"), 0)
    run.figures |= {"succeeded": succeeded, "failed": failed}
    run.figures["effective"] = sum(world.record.effective().values())
    run.must(succeeded == run.runs, f"{succeeded} of {run.runs} succeeded, {failed} failed")


@scenario("K4", "SIGTERM every 2 s under 200 ev/s")
def restarts(run: Run) -> None:
    times, rate = run.size(2, 100), run.size(50, 200)
    with run.world(workers=4, concurrency=8) as world:
        port = free_port()
        uploads = [world.upload(f"f{n:04}") for n in range(run.size(40, 400))]
        statuses: Counter[int] = Counter()
        drains: list[float] = []
        child = [world.serve(port=port)]

        def restart() -> float:
            sleep(2)
            started = monotonic()
            code = child[0].stop(45)
            drains.append(monotonic() - started)
            run.must(code == 0, f"exit code {code} after SIGTERM")
            child[0] = world.serve(port=port)
            return 0

        stop = threading.Event()
        senders = [
            threading.Thread(target=_send, args=(world, port, uploads, statuses, rate / 8, stop))
            for _ in range(8)
        ]
        for sender in senders:
            sender.start()
        for _ in range(times):
            restart()
        stop.set()
        for sender in senders:
            sender.join()
        world.announce_all(lambda: child[0].url, world.not_accepted(uploads))
        world.settle(run.size(60, 300))
        run.runs = sum(statuses.values())
        run.figures |= {"restarts": times, "answers": dict(statuses)}
        run.figures["longest drain s"] = round(max(drains), 1)
        run.must(max(drains) <= 30, f"a drain took {max(drains):.0f} s")
        run.must(set(statuses) <= {0, 200, 503}, f"answers: {dict(statuses)}")


def _send(
    world: World,
    port: int,
    uploads: list[Upload],
    statuses: Counter[int],
    rate: float,
    stop: threading.Event,
) -> None:
    chance = random.Random()
    due = monotonic()
    while not stop.is_set():
        due += 1 / rate
        sleep(max(due - monotonic(), 0))
        statuses[world.announce(f"http://127.0.0.1:{port}", chance.choice(uploads))] += 1
