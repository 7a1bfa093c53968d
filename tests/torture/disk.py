"""The disk under SQLite, seen and spoiled: the library's own file methods, wrapped through ctypes.

Every write, truncation and sync of SQLite passes here: so a child can die between two steps of one
commit, a sync can fail, and what a power cut would leave is known: what was synced for certain,
of the rest any part (see power.py).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path

HEAD = struct.Struct("<cHqI")
"""One line of the record: what, length of the name, place in the file, length of the bytes."""

IOERR_FSYNC = 1034
POINTERS = 18
_READS = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_SIZES = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNCS = CFUNCTYPE(c_int, c_void_p, c_int)
_OPENS = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p, c_int, c_void_p)

WRITE, TRUNCATE, SYNC = 2, 3, 4
"""Places in the table of a file's methods (sqlite3.h, struct sqlite3_io_methods)."""

counting = False
_watching: list[Callable[[str], object]] = []
_kept: list[object] = []
_tables: dict[int, ctypes.Array[ctypes.c_byte]] = {}
_names: dict[int, bytes] = {}


class _Methods(Structure):
    _fields_ = [("version", c_int), ("call", c_void_p * POINTERS)]


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_size", c_int),
        ("longest", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("own", c_void_p),
        ("open", c_void_p),
    ]


def watch(act: Callable[[str], object]) -> None:
    """Has `act` called before each step, with its name: write, truncate or sync."""
    _watching.append(act)


def install(log: str | None = None, failing: str | None = None, lazy: bool = False) -> None:
    """`log`: a folder for the record of all steps; `failing`: syncs fail while that file exists;
    `lazy`: nothing is ever synced (what a test must find out)."""
    if lazy:
        _lazy.append(True)
    if log:
        watch_all(Path(log))
    if failing:
        _failing.append(failing)
    if _kept:
        return
    library = ctypes.CDLL("libsqlite3.so.0")
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None).contents
    original = _OPENS(vfs.open)

    def opened(vfs_: int, name: bytes, file: int, flags: int, out: int) -> int:
        code: int = original(vfs_, name, file, flags, out)
        methods = c_void_p.from_address(file)
        if code == 0 and name and methods.value:
            _names[file] = name
            methods.value = _wrapped(methods.value)
        return code

    replacement = _OPENS(opened)
    _kept.extend((original, replacement))
    vfs.open = ctypes.cast(replacement, c_void_p).value


_failing: list[str] = []
_lazy: list[bool] = []
_records: list[Callable[[bytes, int, int, bytes], None]] = []


def watch_all(folder: Path) -> None:
    """Writes every step down, a file for each process."""
    files: dict[int, int] = {}

    def record(what: bytes, file: int, place: int, content: bytes) -> None:
        pid = os.getpid()
        if pid not in files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            files[pid] = os.open(folder / f"{pid}.disk", flags, 0o600)
        name = _names.get(file, b"")
        line = HEAD.pack(what, len(name), place, len(content)) + name + content
        os.write(files[pid], line)

    _records.append(record)


def _wrapped(table: int) -> int:
    if table not in _tables:
        copy = (ctypes.c_byte * ctypes.sizeof(_Methods)).from_buffer_copy(
            ctypes.string_at(table, ctypes.sizeof(_Methods))
        )
        _tables[table] = copy
        _tables[ctypes.addressof(copy)] = copy
        _replace(_Methods.from_buffer(copy))
    return ctypes.addressof(_tables[table])


def _replace(methods: _Methods) -> None:
    write, truncate = _READS(methods.call[WRITE]), _SIZES(methods.call[TRUNCATE])
    sync = _SYNCS(methods.call[SYNC])

    def writes(file: int, content: int, size: int, place: int) -> int:
        _step("write")
        code: int = write(file, content, size, place)
        return _record(code, b"w", file, place, ctypes.string_at(content, size))

    def truncates(file: int, size: int) -> int:
        _step("truncate")
        code: int = truncate(file, size)
        return _record(code, b"t", file, size)

    def syncs(file: int, flags: int) -> int:
        _step("sync")
        if any(Path(one).exists() for one in _failing):
            return IOERR_FSYNC
        return 0 if _lazy else _record(sync(file, flags), b"s", file, 0)

    made = {WRITE: _READS(writes), TRUNCATE: _SIZES(truncates), SYNC: _SYNCS(syncs)}
    _kept.extend((write, truncate, sync, made))
    for place, method in made.items():
        methods.call[place] = ctypes.cast(method, c_void_p).value


def _step(what: str) -> None:
    for act in _watching:
        act(what)


def _record(code: int, what: bytes, file: int, place: int, content: bytes = b"") -> int:
    """Writes down what was done, if it was: `code` 0."""
    for record in _records if code == 0 else ():
        record(what, file, place, content)
    return code
