"""What every test runs with."""

import gc
import os
import sys
import threading

import hypothesis
import pytest

WHOLE = (
    "tests/end_to_end/",
    "tests/import_path/",
    "tests/limits/",
    "tests/delivery/test_retention_loop.py",
)
OFTEN = (
    *(
        "tests/ledger/test_batching.py",
        "tests/ledger/test_retention.py",
        "tests/ledger/test_function_order.py",
    ),
    *(
        "tests/channels/test_group_robots.py",
        "tests/handlers/test_s3_family.py",
        "tests/notifications/",
    ),
)
WAITING = (*WHOLE, "tests/deploy/", "tests/browser/", "tests/ledger/test_processes.py")

pytest_plugins = ["tests.postgresql", "tests.ledgers", "tests.fake_internet"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Mangled input leads to lone surrogates in what is captured: xdist cannot send those."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


# No test is failed for a moment in which the machine did something else.
hypothesis.settings.register_profile("relay", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("relay")

# Ten thousand tests are there to stay: collected without a look at what may go, and out of the
# collector's sight when the first one runs.
gc.disable()


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What importing our modules walks is measured in one process; tests import much else."""
    tracers = sys.gettrace(), threading.gettrace()
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        trace(None, None)
    try:
        return (yield)
    finally:
        trace(*tracers)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Of a test's cases the first one is measured: the others walk nearly the same lines. Not
    measured are those that drive the whole house, for their lines are walked by the tests of its
    parts, and those that walk few lines often. To be measured costs half as much again."""
    seen = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        if function in seen or function.startswith(WHOLE + OFTEN):
            item.add_marker("no_cover")
        seen.add(function)
    spread(items)


def spread(items):
    """Each process that runs tests gets an equal part of the list at first: each part begins with
    its share of those that wait, so that only short ones are left to be divided in the end."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    waiting = [item for item in items if item.nodeid.startswith(WAITING)]
    short = [item for item in items if not item.nodeid.startswith(WAITING)]
    turns = {file: n % share for n, file in enumerate(dict.fromkeys(map(file_of, waiting)))}
    parts = [[item for item in waiting if turns[file_of(item)] == n] for n in range(share)]
    for part in parts:
        room = max(0, len(items) // share - len(part))
        part.extend(short[:room])
        del short[:room]
    items[:] = [item for part in parts for item in part] + short


def file_of(item):
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """pytest-cov would stop and start the whole measuring around each test that is not measured,
    and go through every thread that ever was: after a thousand tests that takes longer than they
    do. Here the tracer is laid aside, and taken up again."""
    if not item.get_closest_marker("no_cover"):
        return (yield)
    item.own_markers = [mark for mark in item.own_markers if mark.name != "no_cover"]
    tracers = sys.gettrace(), threading.gettrace()
    trace(None, None)
    try:
        return (yield)
    finally:
        trace(*tracers)


def trace(here, in_threads):
    sys.settrace(here)
    threading.settrace(in_threads)
