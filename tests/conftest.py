"""Fixtures and settings of all tests."""

import hypothesis
import pytest

pytest_plugins = ["tests.postgresql", "tests.ledgers", "tests.fake_internet"]

# A busy machine must not fail a test: hypothesis measures no deadlines.
hypothesis.settings.register_profile("relay", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("relay")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Mangled input leads to lone surrogates in captured output: xdist cannot send those."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report
