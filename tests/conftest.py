"""What every test runs with."""

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
