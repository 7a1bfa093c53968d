"""The pages in a real browser: the distribution's Chromium over a loopback server."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))

from web_server import Web, serving

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = "no Chromium here: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium):
    context = chromium.new_context(
        viewport={"width": 1200, "height": 800}, locale="en-GB", color_scheme="light"
    )
    yield context
    context.close()


@pytest.fixture
def page(context):
    """A page on which every complaint of the browser fails the test, CSP violations among them."""
    page = context.new_page()
    complaints = []
    page.on("console", lambda told: complaints.append(f"{told.type}: {told.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # A page that is left takes its polls with it: that is no complaint.
    page.on(
        "requestfailed",
        lambda one: one.failure == "net::ERR_ABORTED" or complaints.append(f"failed: {one.url}"),
    )
    page.complaints = complaints
    yield page
    assert complaints == []


@pytest.fixture
def open_web(tmp_path):
    """open_web(**tables) -> a relay's web floor, served; its address is `web.url`."""
    opened = []

    def open_(**tables):
        web = Web(tmp_path, **tables)
        server = serving(web.app)
        web.url = server.__enter__()
        opened.append((web, server))
        return web

    yield open_
    for web, server in opened:
        server.__exit__(None, None, None)
        web.ledger.close()


@pytest.fixture
def web(open_web):
    return open_web()
