"""Forks children that have imported relay already: a start takes 10 ms instead of a second.

Reads orders and writes what became of the children, one JSON object a line (see child.Order).
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

BEGIN = time.monotonic()
READ = 1 << 16


def main() -> None:
    child.preload()
    say(ready=round(time.monotonic() - BEGIN, 3))
    waiting = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.01)
        reap()
        if not readable:
            continue
        came = os.read(0, READ)
        if not came:
            os._exit(0)  # taking all apart that was imported would last longer than many a scenario
        *lines, waiting = (waiting + came).split(b"\n")
        for line in lines:
            say(order=(order := json.loads(line))["number"], pid=fork(order))


def fork(order: child.Order) -> int:
    pid = os.fork()
    if pid:
        with suppress(OSError):  # the child does the same; whoever comes first
            os.setpgid(pid, pid)
        return pid
    try:
        child.run(order)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - nothing may run on into the zygote's loop
        sys.excepthook(*sys.exc_info())
        code = 1
    else:
        code = 0
    sys.stderr.flush()
    os._exit(code)


def reap() -> None:
    """Tells who ended. What a child leaves behind (gunicorn's other half) ends with it, and before
    its number is free for a stranger."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(ended.si_pid, signal.SIGKILL)
        pid, status = os.waitpid(ended.si_pid, 0)
        say(exited=pid, code=os.waitstatus_to_exitcode(status))


def say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
