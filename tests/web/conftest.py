"""The web floor over a real ledger: a client for answers, a loopback server for the wire."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from web_server import Web, serving


@pytest.fixture
def make_web(tmp_path):
    made = []

    def make(**tables):
        made.append(Web(tmp_path, **tables))
        return made[-1]

    yield make
    for web in made:
        web.ledger.close()


@pytest.fixture
def web(make_web):
    return make_web()


@pytest.fixture
def hand(web):
    return web.hand


@pytest.fixture
def serve():
    return serving
