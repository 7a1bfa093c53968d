"""Fixtures: a web application over a real ledger."""

import pytest

from tests.web.web_server import Web


@pytest.fixture
def make_web(tmp_path):
    """make_web(**tables of relay.toml) -> Web"""
    webs = []

    def make(**tables):
        webs.append(Web(tmp_path, **tables))
        return webs[-1]

    yield make
    for web in webs:
        web.ledger.close()


@pytest.fixture
def web(make_web):
    return make_web()


@pytest.fixture
def driver(web):
    return web.driver
