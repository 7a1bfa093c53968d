"""Fault injection in the file layer of SQLite: the methods of its VFS, wrapped through ctypes.

Every write, truncation and sync of SQLite passes through here. So a child can die between two steps
of a commit, a sync can fail, and the possible states after a power failure are known (power.py).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path

HEAD = struct.Struct("<cHqI")
"""Header of a record: kind, length of the name, offset in the file, length of the content."""

IOERR_FSYNC = 1034
POINTERS = 18
_READS = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_SIZES = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNCS = CFUNCTYPE(c_int, c_void_p, c_int)
_OPENS = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p, c_int, c_void_p)

WRITE, TRUNCATE, SYNC = 2, 3, 4
"""Indexes in the method table of a file (sqlite3.h, struct sqlite3_io_methods)."""

counting = False
_watchers: list[Callable[[str], object]] = []
_references: list[object] = []
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
    """Call `act` before each step, with "write", "truncate" or "sync"."""
    _watchers.append(act)


def install(log: str | None = None, failing: str | None = None, lazy: bool = False) -> None:
    """Wrap the VFS.

    `log`: a folder for the record of all steps. `failing`: syncs fail while this file exists.
    `lazy`: syncs do nothing, which a test must detect.
    """
    if lazy:
        _lazy.append(True)
    if log:
        record_all(Path(log))
    if failing:
        _failing.append(failing)
    if _references:
        return
    library = ctypes.CDLL("libsqlite3.so.0")
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None).contents
    original = _OPENS(vfs.open)

    def open_wrapped(vfs_: int, name: bytes, file: int, flags: int, out: int) -> int:
        code: int = original(vfs_, name, file, flags, out)
        methods = c_void_p.from_address(file)
        if code == 0 and name and methods.value:
            _names[file] = name
            methods.value = _wrapped_table(methods.value)
        return code

    replacement = _OPENS(open_wrapped)
    _references.extend((original, replacement))
    vfs.open = ctypes.cast(replacement, c_void_p).value


_failing: list[str] = []
_lazy: list[bool] = []
_records: list[Callable[[bytes, int, int, bytes], None]] = []


def record_all(folder: Path) -> None:
    """Record every step, in a file for each process."""
    files: dict[int, int] = {}

    def record(kind: bytes, file: int, offset: int, content: bytes) -> None:
        pid = os.getpid()
        if pid not in files:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            files[pid] = os.open(folder / f"{pid}.disk", flags, 0o600)
        name = _names.get(file, b"")
        line = HEAD.pack(kind, len(name), offset, len(content)) + name + content
        os.write(files[pid], line)

    _records.append(record)


def _wrapped_table(table: int) -> int:
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

    def write_wrapped(file: int, content: int, size: int, offset: int) -> int:
        _step("write")
        code: int = write(file, content, size, offset)
        return _record(code, b"w", file, offset, ctypes.string_at(content, size))

    def truncate_wrapped(file: int, size: int) -> int:
        _step("truncate")
        code: int = truncate(file, size)
        return _record(code, b"t", file, size)

    def sync_wrapped(file: int, flags: int) -> int:
        _step("sync")
        if any(Path(path).exists() for path in _failing):
            return IOERR_FSYNC
        return 0 if _lazy else _record(sync(file, flags), b"s", file, 0)

    wrapped = {
        WRITE: _READS(write_wrapped),
        TRUNCATE: _SIZES(truncate_wrapped),
        SYNC: _SYNCS(sync_wrapped),
    }
    _references.extend((write, truncate, sync, wrapped))
    for index, method in wrapped.items():
        methods.call[index] = ctypes.cast(method, c_void_p).value


def _step(name: str) -> None:
    for act in _watchers:
        act(name)


def _record(code: int, kind: bytes, file: int, offset: int, content: bytes = b"") -> int:
    """Record the step if it succeeded (`code` 0). Returns `code`."""
    for record in _records if code == 0 else ():
        record(kind, file, offset, content)
    return code
