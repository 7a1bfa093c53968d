"""S4: power failure, simulated from a record of all writes and syncs.

disk.py records what SQLite does to the files. After a kill -9, images of the database are built as
a disk may have it after a power failure: everything up to the last sync of each file, and any part
of the later writes, in any order, some of them torn at a sector. A valid image passes
integrity_check and contains every event that was answered with a 2xx. To prove that the test can
fail, it also runs with syncs disabled: then accepted events must be missing.
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
    kind: bytes
    name: str
    offset: int
    content: bytes


def steps(record: Path) -> Iterator[Step]:
    """Read the record of a process. The last step may be cut off."""
    data, at = record.read_bytes(), 0
    while at + HEAD.size <= len(data):
        kind, length, offset, size = HEAD.unpack_from(data, at)
        at += HEAD.size
        name = data[at : at + length].decode()
        content = data[at + length : at + length + size]
        at += length + size
        yield Step(kind, name, offset, content)


class Disk:
    """The synced content of each file, and the steps since the last sync."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self.pending: dict[str, list[Step]] = {}

    def apply(self, step: Step) -> None:
        steps_since = self.pending.setdefault(step.name, [])
        if step.kind != b"s":
            steps_since.append(step)
            return
        file = self.synced.setdefault(step.name, bytearray())
        for pending in steps_since:
            _apply(file, pending)
        steps_since.clear()

    def after_power_failure(self, chance: random.Random) -> dict[str, bytes]:
        """Return a possible content of the files after a power failure."""
        files = {}
        for name, steps_since in self.pending.items():
            file = bytearray(self.synced.get(name, b""))
            kept = [step for step in steps_since if chance.random() < 0.5]
            chance.shuffle(kept)
            for step in kept:
                _apply(file, _torn(step, chance))
            if name in self.synced or kept:
                files[name] = bytes(file)
        return files


def _apply(file: bytearray, step: Step) -> None:
    if step.kind == b"t":
        del file[step.offset :]
        file.extend(bytes(step.offset - len(file)))
        return
    if len(file) < step.offset:
        file.extend(bytes(step.offset - len(file)))
    file[step.offset : step.offset + len(step.content)] = step.content


def _torn(step: Step, chance: random.Random) -> Step:
    if step.kind != b"w" or chance.random() < 0.7:
        return step
    sectors = len(step.content) // SECTOR
    return step._replace(content=step.content[: chance.randint(0, sectors) * SECTOR])


@scenario("S4", "the power fails", engines=(SQLITE,))
def power(run: Run) -> None:
    number, images = run.size(40, 200), run.size(10, 200)
    for mode in ("FULL", "no syncs"):
        with run.world() as world:
            record = world.folder / "disk"
            record.mkdir()
            options = {"disk": {"log": str(record), "lazy": mode != "FULL"}}
            web = world.serve("--no-worker", **options)
            uploads = [world.upload(f"f{n:04}") for n in range(number)]
            for upload in uploads[: number * 3 // 4]:
                world.announce(web.url, upload)
            web.kill()
            lost, broken = _images(world, record, images)
            run.figures[mode] = f"{images} images, lost in {lost}, broken {broken}"
            if mode == "FULL":
                run.must(not lost, f"a 2xx was lost in {lost} of {images} images")
                run.must(not broken, f"{broken} of {images} images are broken")
            else:
                run.must(lost + broken > 0, "nothing was lost without syncs: this proves nothing")
            world.serve()
            world.settle(run.size(60, 200))
    run.runs = 2 * images


def _images(world: World, record: Path, number: int) -> tuple[int, int]:
    """Return how many images lack an accepted event, and how many are not a valid database."""
    disk = Disk()
    for path in sorted(record.glob("*.disk")):
        for step in steps(path):
            disk.apply(step)
    lost = broken = 0
    for seed in range(number):
        folder = world.folder / f"image{seed}"
        folder.mkdir()
        for name, content in disk.after_power_failure(random.Random(seed)).items():
            (folder / Path(name).name).write_bytes(content)
        valid, keys = _read(folder / "relay.db")
        broken += not valid
        lost += valid and any(key not in keys for key, _ in world.record.accepted)
    return lost, broken


def _read(path: Path) -> tuple[bool, set[str]]:
    try:
        with closing(sqlite3.connect(path)) as connection:
            valid = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return valid, {key for (key,) in connection.execute("SELECT key FROM deliveries")}
    except sqlite3.Error:
        return False, set()
