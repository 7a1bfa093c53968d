"""Forks children from a process that has imported relay: a start takes 10 ms, not a second.

Reads orders on stdin and writes the ids and exit codes of the children, as a JSON object per line
(see child.Order).
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress

from tests.torture import child

STARTED = time.monotonic()
CHUNK = 1 << 16


def main() -> None:
    child.preload()
    send(ready=round(time.monotonic() - STARTED, 3))
    rest = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.01)
        reap()
        if not readable:
            continue
        data = os.read(0, CHUNK)
        if not data:
            os._exit(0)  # skip the slow interpreter shutdown
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            send(order=(order := json.loads(line))["number"], pid=fork(order))


def fork(order: child.Order) -> int:
    pid = os.fork()
    if pid:
        with suppress(OSError):  # parent and child both do this, to avoid a race
            os.setpgid(pid, pid)
        return pid
    try:
        child.run(order)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the child must not continue in the loop of the zygote
        sys.excepthook(*sys.exc_info())
        code = 1
    else:
        code = 0
    sys.stderr.flush()
    os._exit(code)


def reap() -> None:
    """Report exited children, and kill the rest of the process group, such as gunicorn workers.

    The group is killed before the child is reaped, while the pid cannot be reused.
    """
    while True:
        try:
            exited = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if exited is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(exited.si_pid, signal.SIGKILL)
        pid, status = os.waitpid(exited.si_pid, 0)
        send(exited=pid, code=os.waitstatus_to_exitcode(status))


def send(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
