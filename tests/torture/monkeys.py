"""K2 to K4: processes die at random, PostgreSQL goes away again and again, restarts without end."""

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
from tests.torture.world import TooLate, World, free_port, until

TROUBLE = (
    {"status": 409, "code": "FSS.1061"},
    {"status": 500},
    {"status": 503},
    {"drop": True, "commit": True},
    {"delay": 2.0},
)


class Zoo:
    """Keeps a web and some workers alive, as a supervisor does, whatever kills them."""

    def __init__(self, world: World, workers: int) -> None:
        self.world = world
        self.port = free_port()
        self.makers: list[Callable[[], Child]] = [
            lambda: world.serve(port=self.port, ready=False),
            *[world.work] * workers,
        ]
        self.children = [make() for make in self.makers]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def revive(self) -> None:
        for place, child in enumerate(self.children):
            if not child.alive:
                self.children[place] = self.makers[place]()

    def kill_one(self, chance: random.Random) -> None:
        """One whole relay, or only the process that gunicorn forked."""
        victim = chance.choice(self.children)
        forked = children_of(victim.pid)
        if forked and chance.random() < 0.5:
            os.kill(forked[0], signal.SIGKILL)
        else:
            victim.kill()


def children_of(pid: int) -> list[int]:
    try:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(one) for one in told.split()]


@contextmanager
def _meanwhile(act: Callable[[], float]) -> Iterator[None]:
    """Calls `act` in a thread, again after the seconds that it returns, until the end."""
    over, errors = threading.Event(), []

    def go_on() -> None:
        try:
            while not over.wait(act()):
                pass
        except Exception as error:  # noqa: BLE001 - raised where the scenario can see it
            errors.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


@scenario("K2", "a random process dies every 0.5-4 s; 5 % of the calls go wrong")
def processes(run: Run) -> None:
    chance = random.Random(20)
    number = run.size(80 if run.engine == SQLITE else 50, 5000)
    with _troubled_world(run, number) as (world, uploads):
        zoo = Zoo(world, workers=1)
        kills = [0]

        def kill() -> float:
            if run.quick:
                _goes_on(world)
            else:
                sleep(chance.uniform(0.5, 4))
            zoo.kill_one(chance)
            zoo.revive()
            kills[0] += 1
            return 0

        with _meanwhile(kill):
            _pour(run, world, lambda: zoo.url, uploads, disturbed=lambda: kills[0] > 0)
        zoo.revive()
        world.settle(300)
        run.figures["kills"] = kills[0]
        _all_terminal(run, world)


def _goes_on(world: World) -> None:
    """Waits until some have ended since: how much a machine gets done in a second is no pace for a
    short sweep. A slow one would get nothing done between two, a fast one all before the first."""

    def ended() -> int:
        return sum(n for (_, state), n in world.ledger.counts().items() if state == "succeeded")

    before = ended()
    with suppress(TooLate):  # no more are coming
        until(lambda: ended() >= before + 20, 5, nap=0.05)


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
    with _troubled_world(run, run.size(80, 5000)) as (world, uploads):
        zoo = Zoo(world, workers=2)
        stops: Counter[str] = Counter()

        def stop() -> float:
            if run.quick:
                _goes_on(world)
            else:
                sleep(chance.uniform(5, 40))
            how = chance.choice((signal.SIGINT, signal.SIGQUIT))
            server.stop(how)
            sleep(chance.uniform(0, 2))
            server.start()
            stops[how.name] += 1
            zoo.revive()  # who found no database at its start has ended in words
            return 0

        with _meanwhile(stop):
            _pour(run, world, lambda: zoo.url, uploads, disturbed=lambda: bool(stops))
        world.settle(300)
        run.figures["stops"] = dict(stops)
        _all_terminal(run, world)


@contextmanager
def _troubled_world(run: Run, number: int) -> Iterator[tuple[World, list[Upload]]]:
    chance = random.Random(2)
    with run.world(read_timeout="1s", workers=4, concurrency=8, lease="10s") as world:
        for _ in range(2 * number):
            fault = chance.choice(TROUBLE) if chance.random() < 0.05 else {}
            world.sandbox.fault(operation="import", **fault)
        yield world, [world.upload(f"f{n:05}") for n in range(number)]


def _pour(
    run: Run,
    world: World,
    url: Callable[[], str],
    uploads: list[Upload],
    disturbed: Callable[[], bool],
) -> None:
    """Announces all, and waits until they have ended, while it goes on. The last quarter is held
    back until it was `disturbed` for the first time: without that a run would prove nothing."""
    began, held = monotonic(), len(uploads) * 3 // 4
    world.tell(url, uploads[:held], threads=4)
    until(disturbed, 120, world.log)
    world.tell(url, uploads[held:], threads=4)
    world.settle(run.size(120, 1800))
    run.runs = len(uploads)
    run.figures["events/s"] = round(len(uploads) / (monotonic() - began), 1)


def _all_terminal(run: Run, world: World) -> None:
    world.quiet()
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
            began = monotonic()
            code = child[0].stop(45)
            drains.append(monotonic() - began)
            run.must(code == 0, f"it ended with {code} after SIGTERM")
            child[0] = world.serve(port=port)
            return 0

        over = threading.Event()
        senders = [
            threading.Thread(target=_send, args=(world, port, uploads, statuses, rate / 8, over))
            for _ in range(8)
        ]
        for sender in senders:
            sender.start()
        for _ in range(times):
            restart()
        over.set()
        for sender in senders:
            sender.join()
        world.tell(
            lambda: child[0].url, [u for u in uploads if u.name not in world.record.accepted]
        )
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
    over: threading.Event,
) -> None:
    chance = random.Random()
    due = monotonic()
    while not over.is_set():
        due += 1 / rate
        sleep(max(due - monotonic(), 0))
        statuses[world.announce(f"http://127.0.0.1:{port}", chance.choice(uploads))] += 1
