"""Fixtures: the Chromium of the system and a web application on a loopback port."""

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.web.web_server import Web, serving

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "no Chromium here: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
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
    """A page on which any console message, script error or failed request fails the test."""
    page = context.new_page()
    errors = []
    page.on("console", lambda message: errors.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: errors.append(str(error)))

    def log_failed_request(request):
        # Leaving a page aborts the running poll.
        if request.failure != "net::ERR_ABORTED":
            errors.append(f"failed: {request.url}")

    page.on("requestfailed", log_failed_request)
    page.errors = errors
    yield page
    assert errors == []


@pytest.fixture
def open_web(tmp_path):
    """open_web(**tables of relay.toml) -> Web, served at `web.url`"""
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
