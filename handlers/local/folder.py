"""A folder as a storage: keys for its files, whatever their names, and never a way out of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay.sources.fields import MAX_BYTES, MAX_COUNT

UNFINISHED = (".part", ".tmp")
"""What programs call a file that they still write."""

_ESCAPED = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not block us


@dataclass(frozen=True, slots=True)
class File:
    """One file as it was when it was looked at. Times in nanoseconds since 1970.

    `changed` moves on with every write and rename (ctime), unlike `modified`, which copying tools
    set back: so `changed` orders the versions of a file, and `etag` tells them apart.
    """

    key: str
    inode: int
    size: int
    modified: int
    changed: int

    @property
    def etag(self) -> str:
        return f"{self.inode}-{self.size}-{self.modified}"


def key_of(path: str) -> str:
    r"""The key of a path below the folder, as the file system names it.

    Bytes that are not UTF-8 are written `\xff`; a backslash that would read as such is `\x5c`.
    """
    literal = _ESCAPED.sub(lambda found: r"\x5c" + found[0][1:], path)
    return literal.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def path_of(key: str) -> str | None:
    """The path that `key_of` made this key of; None when no file below a folder has such a key."""
    if any(part in ("", ".", "..") for part in key.split("/")) or "\0" in key:
        return None
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        return None
    escaped = re.sub(
        rb"\\x(5c|[89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), raw
    )
    return os.fsdecode(escaped)


def is_ignored(path: str) -> bool:
    """Whether a path below the folder is none of ours: hidden, or still being written."""
    hidden = any(part.startswith(".") for part in path.split("/"))
    return hidden or path.endswith(UNFINISHED) or len(key_of(path).encode()) > MAX_BYTES


def look(folder: Path, key: str) -> File | None:
    """The file of this key; None: nothing that counts. Links are not followed."""
    path = path_of(key)
    if path is None or is_ignored(path):
        return None
    with suppress(OSError):
        descriptor = open_inside(folder, path)
        try:
            return file_at(key, descriptor)
        finally:
            os.close(descriptor)
    return None


def open_inside(folder: Path, path: str) -> int:
    """A descriptor to read the file, reached without following any link below the folder.

    OSError when it is not there, a link is on the way, or it may not be read.
    """
    *folders, name = path.split("/")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            there = os.open(part, _FOLDER, dir_fd=here)
            os.close(here)
            here = there
        return os.open(name, _FILE, dir_fd=here)
    finally:
        os.close(here)


def file_at(key: str, descriptor: int) -> File | None:
    """What an open file is now; None when it is no regular file."""
    return _file(key, os.fstat(descriptor))


def walk(folder: Path, after: str = "") -> Iterator[File]:
    """Every file that counts, by the parts of its path, from behind the path `after` on; what
    vanishes meanwhile is left out."""
    waiting = [_inside(folder, "", after.split("/") if after else [])]
    while waiting:
        inside, entries, trail = waiting[-1]
        if not entries:
            waiting.pop()
            continue
        entry = entries.pop()
        path = f"{inside}{entry.name}"
        rest = trail[1:] if trail[:1] == [entry.name] else []
        if is_ignored(path) or path == after:
            continue
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(_inside(folder, f"{path}/", rest))
            elif file := _file(key_of(path), entry.stat(follow_symlinks=False)):
                yield file


_Entries = list[os.DirEntry[str]]


def _inside(folder: Path, inside: str, trail: list[str]) -> tuple[str, _Entries, list[str]]:
    """What lies in a folder from the first part of `trail` on, the last one first."""
    entries: _Entries = []
    first = trail[0] if trail else ""
    with suppress(OSError), os.scandir(folder / inside) as listing:
        entries = [entry for entry in listing if entry.name >= first]
    entries.sort(key=lambda entry: entry.name, reverse=True)
    return inside, entries, trail


def _file(key: str, seen: os.stat_result) -> File | None:
    if not stat.S_ISREG(seen.st_mode):
        return None
    times = (min(max(time, 0), MAX_COUNT) for time in (seen.st_mtime_ns, seen.st_ctime_ns))
    return File(key, seen.st_ino & MAX_COUNT, seen.st_size, *times)
