"""What every test runs with."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Tests of mangled input print and log lone surrogates, which xdist cannot send to its master."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report
