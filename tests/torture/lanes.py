"""Carries scenarios out beside each other, each lane a process with a zygote and a PostgreSQL.

Most scenarios wait most of the time, for leases, backoffs, windows. Those whose figures are about
speed or memory come last, one after the other.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from tests import postgresql
from tests.torture.child import PR_SET_PDEATHSIG
from tests.torture.children import Zygote
from tests.torture.plan import PLAN
from tests.torture.scenario import POSTGRESQL, Entry, Result, Run, carried_out

Wanted = tuple[Entry, str]
"""A scenario and the engine to run it on."""

_lane = ExitStack()


def results(wanted: Sequence[Wanted], *, quick: bool, lanes: int) -> Iterator[Result]:
    """Each as soon as it is known."""
    together = sorted((one for one in wanted if not one[0].alone), key=_fills)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(lanes, mp_context=context, initializer=_open) as pool:
        yield from _done(pool, together, quick=quick)
        for one in wanted:
            if one[0].alone:
                yield from _done(pool, [one], quick=quick)


def _done(pool: Executor, wanted: Sequence[Wanted], *, quick: bool) -> Iterator[Result]:
    under_way = [pool.submit(_run, entry.id, engine, quick) for entry, engine in wanted]
    for one in as_completed(under_way):
        yield one.result()


def _fills(wanted: Wanted) -> bool:
    """Whether it is one of the many short ones, which fill the lanes at the end."""
    return wanted[0].id.startswith("K1")


def _open() -> None:
    """Once in each lane, which ends with whoever started it."""

    def end(*_: object) -> None:
        _lane.close()
        os._exit(1)

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, end)
    Finalize(None, _lane.close, exitpriority=1)


def _run(id_: str, engine: str, quick: bool) -> Result:
    entry = next(one for one in PLAN if one.id == id_)
    server = _server() if engine == POSTGRESQL else None
    return carried_out(entry, Run(_zygote(), engine, quick, server))


@cache
def _zygote() -> Zygote:
    return _lane.enter_context(Zygote())


@cache
def _server() -> postgresql.Server:
    return _lane.enter_context(_running())


@contextmanager
def _running() -> Iterator[postgresql.Server]:
    programs = postgresql.bindir()
    assert programs is not None, postgresql.MISSING
    folder = Path(tempfile.mkdtemp(prefix="relay-torture-pg-"))
    server = postgresql.Server(programs, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
