"""A real S3 and SQS server for the whole session, and clients of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from secrets import token_hex
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

collect_ignore = ["example_package"]  # test_example_package.py installs and runs it

KEYS = {"aws_access_key_id": "test-key", "aws_secret_access_key": "test-secret"}


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """The address of the server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3(store: str) -> Iterator[Any]:
    client = boto3.client("s3", endpoint_url=store, region_name="us-east-1", **KEYS)
    yield client
    client.close()


@pytest.fixture(scope="session")
def sqs(store: str) -> Iterator[Any]:
    client = boto3.client("sqs", endpoint_url=store, region_name="us-east-1", **KEYS)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    """A new bucket."""
    # moto's state belongs to the process: the buckets of every other server are there too.
    name = f"exports-{token_hex(8)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def queue_url(sqs: Any) -> str:
    """A new queue's URL."""
    return str(sqs.create_queue(QueueName=f"news-{token_hex(8)}")["QueueUrl"])
