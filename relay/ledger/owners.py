"""Names the owner of claims, and detects owners on this host whose process has ended.

A lease protects against every crash, but only after it expires. A process that can be looked up
(same boot, same PID namespace) is known to be dead at once, so a restart takes over immediately.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


def current_owner() -> str:
    """Return a unique name of this worker: `namespace/pid/start time/random`."""
    pid = os.getpid()
    try:
        started = _start_time(pid)
    except OSError:
        return f"/{pid}/0/{secrets.token_hex(4)}"  # without a namespace: cannot be looked up
    return f"{_namespace()}/{pid}/{started}/{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Return whether the owner's process has certainly ended; False if this host cannot know."""
    namespace, _, rest = owner.partition("/")
    pid, _, rest = rest.partition("/")
    started = rest.partition("/")[0]
    if not namespace or namespace != _namespace() or not pid.isdecimal():
        return False
    return _has_ended(int(pid), started)


def _has_ended(pid: int, started: str) -> bool:
    try:
        current = _start_time(pid)
    except OSError:  # /proc may hide the process; kill() knows
        return not _exists(pid)
    return current is None or str(current) != started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


def _namespace() -> str:
    """Return the boot and PID namespace in which process ids are valid; "" if unknown."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:13]}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _start_time(pid: int) -> int | None:
    """Return the start of a process in clock ticks since boot (proc(5), field 22).

    Returns None for a zombie. Raises OSError if it cannot be read.
    """
    stat = (_PROC / str(pid) / "stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
