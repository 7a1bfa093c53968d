"""Keys for the files of a folder, and safe access: no path or link leads out of the folder."""

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
"""Suffixes of files that are still being written."""

_ESCAPED = re.compile(r"\\x(5c|[89a-f][0-9a-f])")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # do not block on a FIFO


@dataclass(frozen=True, slots=True)
class File:
    """The state of a file at some time. Times are nanoseconds since 1970.

    Every write and rename advances `changed` (ctime), while copying tools reset `modified`. So
    `changed` orders the versions of a file, and `etag` identifies them.
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
    r"""The key of a path relative to the folder.

    Bytes that are not UTF-8 are escaped as `\xff`; a backslash before such an escape as `\x5c`.
    """
    literal = _ESCAPED.sub(lambda found: r"\x5c" + found[0][1:], path)
    return literal.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def path_of(key: str) -> str | None:
    """The path of a key, the inverse of `key_of`; None if no file in a folder has this key."""
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
    """Whether a path is hidden, unfinished or too long."""
    hidden = any(part.startswith(".") for part in path.split("/"))
    return hidden or path.endswith(UNFINISHED) or len(key_of(path).encode()) > MAX_BYTES


def look(folder: Path, key: str) -> File | None:
    """The file of this key; None if it is missing or ignored. Links are not followed."""
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
    """Open a file for reading without following links. Returns a descriptor.

    OSError if the file is missing or not readable, or if the path contains a link.
    """
    *folders, name = path.split("/")
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            child = os.open(part, _FOLDER, dir_fd=parent)
            os.close(parent)
            parent = child
        return os.open(name, _FILE, dir_fd=parent)
    finally:
        os.close(parent)


def file_at(key: str, descriptor: int) -> File | None:
    """The state of an open file; None if it is not a regular file."""
    return _file(key, os.fstat(descriptor))


def walk(folder: Path, after: str = "") -> Iterator[File]:
    """All files that are not ignored, sorted by the parts of the path, after the path `after`.

    Files that vanish during the walk are omitted.
    """
    stack = [_list_folder(folder, "", after.split("/") if after else [])]
    while stack:
        parent, entries, resume = stack[-1]
        if not entries:
            stack.pop()
            continue
        entry = entries.pop()
        path = f"{parent}{entry.name}"
        rest = resume[1:] if resume[:1] == [entry.name] else []
        if is_ignored(path) or path == after:
            continue
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                stack.append(_list_folder(folder, f"{path}/", rest))
            elif file := _file(key_of(path), entry.stat(follow_symlinks=False)):
                yield file


_Entries = list[os.DirEntry[str]]


def _list_folder(folder: Path, path: str, resume: list[str]) -> tuple[str, _Entries, list[str]]:
    """The entries of a subfolder from the first part of `resume` on, in reverse order."""
    entries: _Entries = []
    first = resume[0] if resume else ""
    with suppress(OSError), os.scandir(folder / path) as listing:
        entries = [entry for entry in listing if entry.name >= first]
    entries.sort(key=lambda entry: entry.name, reverse=True)
    return path, entries, resume


def _file(key: str, status: os.stat_result) -> File | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    times = (min(max(time, 0), MAX_COUNT) for time in (status.st_mtime_ns, status.st_ctime_ns))
    return File(key, status.st_ino & MAX_COUNT, status.st_size, *times)
