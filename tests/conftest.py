"""What every test runs with."""

import gc

import pytest

pytest_plugins = ["tests.postgresql", "tests.ledgers", "tests.internet"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Mangled input leads to lone surrogates in what is captured: xdist cannot send those."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


# Ten thousand tests are there to stay: collected without a look at what may go, and out of the
# collector's sight when the first one runs.
gc.disable()


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Of a test's cases the first one is measured: the others walk nearly the same lines, and to
    be measured costs them half as much again."""
    seen = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        if function in seen:
            item.add_marker("no_cover")
        seen.add(function)
