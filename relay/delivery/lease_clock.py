"""The clock of leases: it also counts the time that the machine was suspended."""

from __future__ import annotations

import time

_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux only. The monotonic clock of Linux stops while the machine is suspended."""


def lease_clock() -> float:
    """Return the seconds since an unknown moment; wall-clock changes do not affect them."""
    return time.monotonic() if _BOOT_TIME is None else time.clock_gettime(_BOOT_TIME)
