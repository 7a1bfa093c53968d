"""Who works on this host, and is that one still alive? Lets a restart take over at once.

A lease protects against every death, but only after it ran out. Where a worker's process can be
looked up (same boot, same process namespace), its death is certain at once.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


def me() -> str:
    """This worker's name: `place/pid/start/chance`; equal for no other worker, ever."""
    pid = os.getpid()
    return f"{_place()}/{pid}/{_started(pid) or 0}/{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Whether that worker's process is certainly gone. False when this host cannot know."""
    place, _, rest = owner.partition("/")
    pid, _, rest = rest.partition("/")
    started = rest.partition("/")[0]
    if not place or place != _place() or not pid.isdecimal():
        return False
    return str(_started(int(pid)) or 0) != started


def _place() -> str:
    """The boot and the process namespace in which process numbers mean anything; "" unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:13]}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """The process's start in clock ticks since boot (proc(5), field 22); None: no such process."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
