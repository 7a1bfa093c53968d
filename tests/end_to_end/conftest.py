"""Fixtures: a world on loopback; moto serves S3 and SQS."""

from contextlib import ExitStack

import pytest
from moto.server import ThreadedMotoServer

from tests.end_to_end.world import World


@pytest.fixture(scope="session")
def store_url():
    """The URL of a moto server that all tests share, because stopping it takes half a second."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture
def make_world(tmp_path, store_url):
    with ExitStack() as stack:
        yield lambda **options: World(stack, tmp_path, store_url, **options)


@pytest.fixture
def world(make_world):
    return make_world()
