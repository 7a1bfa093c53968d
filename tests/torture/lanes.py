"""Runs scenarios in parallel. Each lane is a process with a zygote and a PostgreSQL server.

Most scenarios spend their time waiting for leases and backoffs. Those that measure speed or memory
run last, one after another.
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
from tests.torture.scenario import POSTGRESQL, Entry, Result, Run, run_scenario

Job = tuple[Entry, str]
"""A scenario and the engine to run it on."""

_lane = ExitStack()


def results(jobs: Sequence[Job], *, quick: bool, lanes: int) -> Iterator[Result]:
    """Yield each result when the scenario ends."""
    parallel = sorted((job for job in jobs if not job[0].alone), key=_is_short)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(lanes, mp_context=context, initializer=_open_lane) as pool:
        yield from _run_all(pool, parallel, quick=quick)
        for job in jobs:
            if job[0].alone:
                yield from _run_all(pool, [job], quick=quick)


def _run_all(pool: Executor, jobs: Sequence[Job], *, quick: bool) -> Iterator[Result]:
    futures = [pool.submit(_run, entry.id, engine, quick) for entry, engine in jobs]
    for future in as_completed(futures):
        yield future.result()


def _is_short(job: Job) -> bool:
    """Return True for the many short scenarios, which fill the lanes at the end."""
    return job[0].id.startswith("K1")


def _open_lane() -> None:
    """Prepare the process of a lane: it ends when the parent process ends."""

    def end(*_: object) -> None:
        _lane.close()
        os._exit(1)

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, end)
    Finalize(None, _lane.close, exitpriority=1)


def _run(id_: str, engine: str, quick: bool) -> Result:
    entry = next(entry for entry in PLAN if entry.id == id_)
    server = _server() if engine == POSTGRESQL else None
    return run_scenario(entry, Run(_zygote(), engine, quick, server))


@cache
def _zygote() -> Zygote:
    return _lane.enter_context(Zygote())


@cache
def _server() -> postgresql.Server:
    return _lane.enter_context(_start_server())


@contextmanager
def _start_server() -> Iterator[postgresql.Server]:
    bindir = postgresql.bindir()
    assert bindir is not None, postgresql.MISSING
    folder = Path(tempfile.mkdtemp(prefix="relay-torture-pg-"))
    server = postgresql.Server(bindir, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
