"""Who works on this host, and is that one still alive? Lets a restart take over at once.

A lease protects against every death, but only after it ran out. Where a worker's process can be
looked up (same boot, same process namespace), its death is certain at once.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


def current_owner() -> str:
    """This worker's name: `place/pid/start/chance`; equal for no other worker, ever."""
    pid = os.getpid()
    try:
        started = _started(pid)
    except OSError:
        return f"/{pid}/0/{secrets.token_hex(4)}"  # a place where nobody can be looked up
    return f"{_place()}/{pid}/{started}/{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Whether that worker's process is certainly gone. False when this host cannot know."""
    place, _, rest = owner.partition("/")
    pid, _, rest = rest.partition("/")
    started = rest.partition("/")[0]
    if not place or place != _place() or not pid.isdecimal():
        return False
    return _has_ended(int(pid), started)


def _has_ended(pid: int, started: str) -> bool:
    try:
        its = _started(pid)
    except OSError:  # kept from us, perhaps: the kernel itself has the last word
        return not _exists(pid)
    return its is None or str(its) != started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _place() -> str:
    """The boot and the process namespace in which process numbers mean anything; "" unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:13]}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """The process's start in clock ticks since boot (proc(5), field 22); None: it has ended.

    Raises OSError where it cannot be read, for whatever reason.
    """
    stat = (_PROC / str(pid) / "stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
