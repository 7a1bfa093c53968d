"""D1 to D4: notifications that come twice, in disorder, too late, or not at all."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import BY_RANGES, World, until


@scenario("D1", "each event 1-10 x, shuffled, to two processes at once")
def duplicates(run: Run) -> None:
    with run.world(workers=8, concurrency=8) as world:
        urls = [world.serve().url for _ in range(2)]
        chance = random.Random(1)
        uploads = [world.upload(f"f{n:04}") for n in range(run.size(30, 1000))]
        wanted = [one for one in uploads for _ in range(chance.randint(1, 10))]
        while not run.quick and len(wanted) < 10_000:
            wanted.append(chance.choice(uploads))
        chance.shuffle(wanted)
        world.tell(lambda: chance.choice(urls), wanted, threads=8)
        world.settle(run.size(60, 600))
        run.runs = len(wanted)
        effective = sum(world.record.effective().values())
        run.figures |= {"objects": len(uploads), "effective imports": effective}
        run.must(effective == len(uploads), f"{effective} effective imports")


@scenario("D2", "v3, v1, v2 of one key; overwritten while it is read")
def disorder(run: Run) -> None:
    keys = run.size(12, 300)
    with run.world(on_conflict="update", workers=8, concurrency=8) as world:
        url = world.serve().url
        for key in range(keys):
            versions = [world.upload(f"f{key:03}", str(n)) for n in (1, 2, 3)]
            world.tell(lambda: url, [versions[place] for place in (2, 0, 1)], threads=1)
        world.settle(run.size(60, 600))
        states = _states(world)
        run.figures["v3 v1 v2"] = dict(states)
        wanted = {("succeeded", None): keys, ("skipped", "superseded"): 2 * keys}
        run.must(states == wanted, f"{states} instead of {wanted}")
    with run.world(on_conflict="update", versioned=False) as world:
        _overwritten(run, world, keys)
    run.runs = 2 * keys


def _overwritten(run: Run, world: World, keys: int) -> None:
    """The store holds another upload when the archive itself is asked for (412)."""
    url = world.serve(constants=BY_RANGES).url
    firsts = [world.upload(f"f{key:03}", "1", size=500_000) for key in range(keys)]
    asked: Counter[str] = Counter()
    seconds: list[Upload] = []

    def overwrite(key: str) -> None:
        asked[key] += 1
        if asked[key] == 2:
            function = key.removeprefix("prod/").removesuffix(".zip")
            seconds.append(world.upload(function, "2", size=500_000))

    world.bucket.on_get = overwrite
    world.tell(lambda: url, firsts)
    until(lambda: len(seconds) == keys, 60, world.log)
    world.tell(lambda: url, seconds)
    world.settle(run.size(60, 600))
    states = _states(world)
    run.figures["overwritten"] = dict(states)
    failed = sum(number for (state, _), number in states.items() if state == "failed")
    run.must(not failed, f"{failed} of the overwritten failed")
    run.must(states["succeeded", None] >= keys, f"overwritten: {states}")


@scenario("D3", "announced a day late, the object is gone")
def gone(run: Run) -> None:
    number = run.size(12, 100)
    with run.world() as world:
        url = world.serve().url
        uploads = []
        for n in range(number):
            upload = world.upload(f"f{n:03}")
            late = replace(upload.version, modified=upload.version.modified - timedelta(days=1))
            uploads.append(world.record.uploaded(replace(upload, version=late)))
            world.bucket.remove(upload.version.key)
        world.tell(lambda: url, uploads)
        world.settle(60)
        rows = world.ledger.deliveries("import")
        most = max(one.attempts for one in rows)
        run.runs = number
        run.figures |= {"ends": dict(_states(world)), "attempts at most": most}
        run.must(_states(world) == {("skipped", "gone"): number}, "not all are skipped: gone")
        run.must(most <= 2, f"{most} attempts at an object that is gone")


@scenario("D4", "5 % of the notifications never sent, a scan finds them")
def lost_at_source(run: Run) -> None:
    number, every = run.size(60, 2000), run.size(4, 10)
    source = f'scan_every = "{every}s"'
    with run.world(versioned=False, source=source, workers=8, concurrency=8) as world:
        url = world.serve().url
        scanned = "select count(*) from scans where finished is not null"
        until(lambda: world.ledger.rows(scanned)[0][0], 30, world.log)
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        silent = uploads[::20]
        world.tell(lambda: url, [one for one in uploads if one not in silent], threads=8)
        began, calls = monotonic(), world.bucket.calls["list"]
        query = "select count(*) from deliveries where kind = 'import'"
        until(lambda: world.ledger.rows(query)[0][0] >= number, 3 * every + 60, world.log)
        found_within = monotonic() - began
        listed = world.bucket.calls["list"] - calls
        world.settle(600, imports=number)
        pages = math.ceil(number / 1000) + 1
        rounds = math.ceil(found_within / every) + 1
        run.runs = number
        run.figures |= {"never sent": len(silent), "found within s": round(found_within, 1)}
        run.figures |= {"list calls": listed, "scans": rounds}
        run.must(found_within <= every + run.size(20, 5), f"found after {found_within:.0f} s")
        run.must(listed <= pages * rounds, f"{listed} list calls in {rounds} scans")


def _states(world: World) -> Counter[tuple[str, str | None]]:
    return Counter((one.state, one.reason) for one in world.ledger.deliveries("import"))
