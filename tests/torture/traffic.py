"""D1 to D4, D6: notifications that arrive twice, out of order, late, or not at all."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import STREAM_EVERYTHING, World, wait_until


@scenario("D1", "each event 1-10 x, shuffled, to two processes at once")
def duplicates(run: Run) -> None:
    with run.world(workers=8, concurrency=8) as world:
        urls = [world.serve().url for _ in range(2)]
        chance = random.Random(1)
        uploads = [world.upload(f"f{n:04}") for n in range(run.size(30, 1000))]
        notifications = [upload for upload in uploads for _ in range(chance.randint(1, 10))]
        while not run.quick and len(notifications) < 10_000:
            notifications.append(chance.choice(uploads))
        chance.shuffle(notifications)
        world.announce_all(lambda: chance.choice(urls), notifications, threads=8)
        world.settle(run.size(60, 600))
        run.runs = len(notifications)
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
            world.announce_all(lambda: url, [versions[index] for index in (2, 0, 1)], threads=1)
        world.settle(run.size(60, 600))
        states = _states(world)
        run.figures["v3 v1 v2"] = dict(states)
        expected = {("succeeded", None): keys, ("skipped", "superseded"): 2 * keys}
        run.must(states == expected, f"{states} instead of {expected}")
    with run.world(on_conflict="update", versioned=False) as world:
        _overwritten(run, world, keys)
    run.runs = 2 * keys


def _overwritten(run: Run, world: World, keys: int) -> None:
    """Overwrite each object between the inspection and the download of the archive (412)."""
    url = world.serve(constants=STREAM_EVERYTHING).url
    firsts = [world.upload(f"f{key:03}", "1", size=500_000) for key in range(keys)]
    requests: Counter[str] = Counter()
    seconds: list[Upload] = []

    def overwrite(key: str) -> None:
        requests[key] += 1
        if requests[key] == 2:
            function = key.removeprefix("prod/").removesuffix(".zip")
            seconds.append(world.upload(function, "2", size=500_000))

    world.bucket.on_get = overwrite
    world.announce_all(lambda: url, firsts)
    wait_until(lambda: len(seconds) == keys, 60, world.log)
    world.announce_all(lambda: url, seconds)
    world.settle(run.size(60, 600))
    states = _states(world)
    run.figures["overwritten"] = dict(states)
    failed = sum(number for (state, _), number in states.items() if state == "failed")
    run.must(not failed, f"{failed} overwritten objects failed")
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
            uploads.append(world.record.add_upload(replace(upload, version=late)))
            world.bucket.remove(upload.version.key)
        world.announce_all(lambda: url, uploads)
        world.settle(60)
        rows = world.ledger.deliveries("import")
        most = max(row.attempts for row in rows)
        run.runs = number
        run.figures |= {"ends": dict(_states(world)), "attempts at most": most}
        run.must(_states(world) == {("skipped", "gone"): number}, "not all are skipped as gone")
        run.must(most <= 2, f"{most} attempts at an object that is gone")


@scenario("D4", "5 % of the notifications never sent, a scan finds them")
def lost_at_source(run: Run) -> None:
    number, every = run.size(60, 2000), run.size(4, 10)
    source = f'scan_every = "{every}s"'
    with run.world(versioned=False, source=source, workers=8, concurrency=8) as world:
        url = world.serve().url
        scanned = "select count(*) from scans where finished is not null"
        wait_until(lambda: world.ledger.rows(scanned)[0][0], 30, world.log)
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        unsent = uploads[::20]
        world.announce_all(
            lambda: url, [upload for upload in uploads if upload not in unsent], threads=8
        )
        started, calls = monotonic(), world.bucket.calls["list"]
        query = "select count(*) from deliveries where kind = 'import'"
        wait_until(lambda: world.ledger.rows(query)[0][0] >= number, 3 * every + 60, world.log)
        found_within = monotonic() - started
        listed = world.bucket.calls["list"] - calls
        world.settle(600, imports=number)
        pages = math.ceil(number / 1000) + 1
        rounds = math.ceil(found_within / every) + 1
        run.runs = number
        run.figures |= {"never sent": len(unsent), "found within s": round(found_within, 1)}
        run.figures |= {"list calls": listed, "scans": rounds}
        run.must(found_within <= every + run.size(20, 5), f"found after {found_within:.0f} s")
        run.must(listed <= pages * rounds, f"{listed} list calls in {rounds} scans")


@scenario("D6", "the store does not find existing objects for a while")
def healing(run: Run) -> None:
    """Every object is imported in the end; nothing else waits, and no message says `gone`."""
    number, gone_after = run.size(8, 200), run.size(12, 90)
    constants = {"relay.delivery.run:SECOND_LOOK": {"seconds": run.size(1, 10)}}
    with run.world(versioned=False, gone_after=f"{gone_after}s") as world:
        url = world.serve(constants=constants).url
        hidden = [world.upload(f"h{n:04}") for n in range(number)]
        world.bucket.hidden.update(upload.version.key for upload in hidden)
        world.announce_all(lambda: url, hidden)
        started = monotonic()
        visible = [world.upload(f"f{n:04}") for n in range(number)]
        world.announce_all(lambda: url, visible)
        wait_until(lambda: _states(world)["succeeded", None] == number, 60, world.log)
        visible_after = monotonic() - started
        wait_until(lambda: min(_attempts(world, hidden)) >= 2, 60, world.log)
        world.bucket.hidden.clear()
        healed = monotonic() - started
        world.settle(gone_after + 60)
        run.runs = 2 * number
        run.figures |= {"visible after s": round(visible_after, 1), "healed after s": round(healed)}
        run.figures["ends"] = dict(_states(world))
        run.must(healed < gone_after, "too slow: the objects were missing for too long")
        run.must(visible_after < healed, "the missing objects delayed the others")
        run.must(_states(world) == {("succeeded", None): 2 * number}, "not all were imported")


def _attempts(world: World, uploads: list[Upload]) -> list[int]:
    names = {upload.name for upload in uploads}
    return [row.attempts for row in world.ledger.deliveries("import") if row.name in names]


def _states(world: World) -> Counter[tuple[str, str | None]]:
    return Counter((row.state, row.reason) for row in world.ledger.deliveries("import"))
