"""K5: repeated kills of one delivery; the outcome is compared with what the target holds."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.torture.ledger import Row
from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import World, wait_until

BEFORE = ("mid-upload", "before intent", "after intent, before last bytes")
"""Points at which the target cannot have changed anything."""

SENT, ANSWERED = "after last byte, before response", "after response, before commit"
CODE = 1_200_000
TIMES = {"lease": "8s", "read_timeout": "2s", "connect_timeout": "2s"}
"""A call whose response is lost can take effect for 4 s."""


@dataclass(frozen=True, slots=True)
class Trial:
    """`applied`: the target applies the call of the last kill. `then`: what happens afterwards."""

    kills: int
    applied: bool
    then: str

    def points(self, chance: random.Random) -> Iterator[str]:
        """Yield the points of the kills. Until the last kill, no call is applied."""
        for number in range(1, self.kills):
            asking = ("mid-question",) * (number > 1)
            yield chance.choice((*BEFORE, SENT, *asking))
        yield chance.choice((SENT, ANSWERED)) if self.applied else chance.choice((*BEFORE, SENT))


THEN = ("kept", "deleted", "denied")
QUICK = (
    Trial(1, True, "deleted"),
    Trial(2, True, "denied"),
    Trial(3, True, "kept"),
    Trial(3, False, "deleted"),
)
ALL = tuple(Trial(*values) for values in itertools.product(range(1, 7), (True, False), THEN))


@scenario("K5", "one delivery is killed 1-6 times, then its object is deleted or denied")
def repeated(run: Run) -> None:
    chance, ends = random.Random(5), Counter[str]()
    for policy in ("skip",) if run.quick else ("skip", "update"):
        with run.world(on_conflict=policy, **TIMES) as world:
            world.may_fail = True
            url = world.serve("--no-worker").url
            for number, trial in enumerate(QUICK if run.quick else ALL):
                upload = world.upload(f"f{number:03}", size=CODE)
                if policy == "update":
                    world.hold(upload.function)
                world.announce(url, upload)
                run.runs += _kill_repeatedly(world, upload, trial, chance)
                row = _finish(world, upload, trial)
                ends[f"{row.state} {row.reason or row.error or ''}".strip()] += 1
                _judge(run, world, upload, trial, row)
    run.figures["ends"] = dict(ends)


def _judge(run: Run, world: World, upload: Upload, trial: Trial, row: Row) -> None:
    """Succeeded if the target holds the code; after an update, the failure may also say so."""
    held = world.sandbox.functions.get(upload.function)
    is_ours = held is not None and held.digest == upload.digest
    says_so = row.state == "succeeded" or "code" in (row.result.get("effect") or ())
    run.must(is_ours == says_so, f"{trial}: {row.state} ({row.reason or row.error}): {is_ours}")
    is_update = world.options.on_conflict == "update"
    run.must(is_update or row.state == "succeeded" or not is_ours, f"{trial}: {row.state}")


def _kill_repeatedly(world: World, upload: Upload, trial: Trial, chance: random.Random) -> int:
    """Return the number of kills; fewer than planned if the delivery ends before."""
    killed = 0
    for number, point in enumerate(trial.points(chance), 1):
        world.marker.unlink(missing_ok=True)
        world.sandbox.faults.clear()
        if not (trial.applied and number == trial.kills):
            for call in ("import", "update_code", "update_config"):
                world.sandbox.fault(operation=call, drop=True, times=None)
        worker = world.work(point=point)
        wait_until(lambda w=worker: not w.alive or not _row(world, upload).is_open, 30, world.log)
        killed += not worker.alive
        worker.kill()
    return killed


def _finish(world: World, upload: Upload, trial: Trial) -> Row:
    world.sandbox.faults.clear()
    world.wait_for_sandbox()
    if trial.then == "deleted":
        world.bucket.remove(upload.version.key)
    elif trial.then == "denied":
        world.bucket.denied.add(upload.version.key)
    worker = world.work()
    world.settle(60)
    worker.kill()
    return _row(world, upload)


def _row(world: World, upload: Upload) -> Row:
    return next(row for row in world.ledger.deliveries("import") if row.name == upload.name)
