"""S4: the power fails. What a disk may hold then is worked out from every write and sync.

disk.py writes down all that SQLite does to its files. After a kill -9 the database is made again
from that record as a disk without power may leave it: everything up to each file's last sync, and
of what was written since any part, in any order, some of it torn at a sector. A sound image has
every 2xx that was given before, and passes integrity_check. To show that this can fail, the same
is done once with no sync ever carried out: there accepted events have to be missing.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.torture.disk import HEAD
from tests.torture.scenario import SQLITE, Run, scenario
from tests.torture.world import World

SECTOR = 512


class Step(NamedTuple):
    what: bytes
    name: str
    place: int
    content: bytes


def steps(record: Path) -> Iterator[Step]:
    """The record of one process; its last line may be cut."""
    held, at = record.read_bytes(), 0
    while at + HEAD.size <= len(held):
        what, length, place, size = HEAD.unpack_from(held, at)
        at += HEAD.size
        name = held[at : at + length].decode()
        content = held[at + length : at + length + size]
        at += length + size
        yield Step(what, name, place, content)


class Disk:
    """The files as they are for certain, and what was done to them since their last sync."""

    def __init__(self) -> None:
        self.safe: dict[str, bytearray] = {}
        self.since: dict[str, list[Step]] = {}

    def take(self, step: Step) -> None:
        done = self.since.setdefault(step.name, [])
        if step.what != b"s":
            done.append(step)
            return
        file = self.safe.setdefault(step.name, bytearray())
        for one in done:
            _do(file, one)
        done.clear()

    def after_power_failed(self, chance: random.Random) -> dict[str, bytes]:
        """One of the states that may be found."""
        found = {}
        for name, done in self.since.items():
            file = bytearray(self.safe.get(name, b""))
            kept = [one for one in done if chance.random() < 0.5]
            chance.shuffle(kept)
            for one in kept:
                _do(file, _torn(one, chance))
            if name in self.safe or kept:
                found[name] = bytes(file)
        return found


def _do(file: bytearray, step: Step) -> None:
    if step.what == b"t":
        del file[step.place :]
        file.extend(bytes(step.place - len(file)))
        return
    if len(file) < step.place:
        file.extend(bytes(step.place - len(file)))
    file[step.place : step.place + len(step.content)] = step.content


def _torn(step: Step, chance: random.Random) -> Step:
    if step.what != b"w" or chance.random() < 0.7:
        return step
    whole = len(step.content) // SECTOR
    return step._replace(content=step.content[: chance.randint(0, whole) * SECTOR])


@scenario("S4", "the power fails", engines=(SQLITE,))
def power(run: Run) -> None:
    number, images = run.size(40, 200), run.size(10, 200)
    for how in ("FULL", "no syncs"):
        with run.world() as world:
            record = world.folder / "disk"
            record.mkdir()
            lazy = {"disk": {"log": str(record), "lazy": how != "FULL"}}
            web = world.serve("--no-worker", **lazy)
            uploads = [world.upload(f"f{n:04}") for n in range(number)]
            for upload in uploads[: number * 3 // 4]:
                world.announce(web.url, upload)
            web.kill()
            lost, broken = _images(world, record, images)
            run.figures[how] = f"{images} images, lost in {lost}, broken {broken}"
            if how == "FULL":
                run.must(not lost, f"a 2xx was lost in {lost} of {images} images")
                run.must(not broken, f"{broken} of {images} images are broken")
            else:
                run.must(lost + broken > 0, "nothing was lost without syncs: this proves nothing")
            world.serve()
            world.settle(run.size(60, 200))
    run.runs = 2 * images


def _images(world: World, record: Path, number: int) -> tuple[int, int]:
    """In how many states of the disk a 2xx is missing, and how many are no sound database."""
    disk = Disk()
    for path in sorted(record.glob("*.disk")):
        for step in steps(path):
            disk.take(step)
    lost = broken = 0
    for seed in range(number):
        folder = world.folder / f"image{seed}"
        folder.mkdir()
        for name, content in disk.after_power_failed(random.Random(seed)).items():
            (folder / Path(name).name).write_bytes(content)
        sound, keys = _read(folder / "relay.db")
        broken += not sound
        lost += sound and any(key not in keys for key, _ in world.record.accepted)
    return lost, broken


def _read(path: Path) -> tuple[bool, set[str]]:
    try:
        with closing(sqlite3.connect(path)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return sound, {key for (key,) in connection.execute("SELECT key FROM deliveries")}
    except sqlite3.Error:
        return False, set()
