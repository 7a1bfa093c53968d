"""A whole world on loopback: moto's S3 and SQS, sandbox, inbox, and relays over one ledger."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

from relay import plugins as loader
from relay.app.relay import Relay
from relay.config import load as settings
from relay.ledger import DeliveryQuery, Ledger
from relay.model import Kind, State, utc_now
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.inbox import InboxServer

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_dGhlLXNlY3JldC1vZi10aGUtZW5kLXRvLWVuZC10ZXN0cw=="
TOKEN = "hook-token-of-the-tests"

CONFIGURATION = """
[database]
url = "sqlite:///{folder}/relay.db"

[delivery]
attempts = 6
first_delay = "200ms"
lease = "{lease}"

[outbound]
allow_private = ["127.0.0.0/8"]

[sources.exports]
kind = "s3"
endpoint_url = "{store}"
region = "us-east-1"
access_key_id = "test"
secret_access_key = "test-secret"
addressing_style = "path"
buckets = ["exports"]
sqs_queue_url = "{queue}"
token = "{token}"

[targets.prod]
kind = "functiongraph"
region = "{region}"
project_id = "{project_id}"
endpoint = "{sandbox}"
access_key = "{access_key}"
secret_key = "{secret_key}"
iam_user = "{iam_user}"
iam_password = "{iam_password}"
iam_domain = "{iam_domain}"
iam_endpoint = "{sandbox}"

[channels.ops]
kind = "webhook"
url = "{inbox}/webhook/ops"
secret = "{secret}"

[channels.chat]
kind = "slack"
url = "{inbox}/slack/chat"

[[routes]]
source = "exports"
key = "prod/*.zip"
target = "prod"
on_conflict = "{on_conflict}"
channels = ["ops", "chat"]
"""


class World:
    """Everything around the relay, and as many relays as a test starts."""

    def __init__(self, stack, folder, store_url, *, lease="30s", on_conflict="skip"):
        self.stack = stack
        self.folder = folder
        self.sandbox = stack.enter_context(SandboxServer())
        self.inbox = stack.enter_context(InboxServer(webhook_secret=SECRET))
        self.store_url = store_url
        requests.post(f"{self.store_url}/moto-api/reset", timeout=5).raise_for_status()
        self.s3, self.sqs = (self._client(service) for service in ("s3", "sqs"))
        self.s3.create_bucket(Bucket="exports")
        self.queue = self.sqs.create_queue(QueueName="uploads")["QueueUrl"]
        self.path = folder / "relay.toml"
        self.configure(lease=lease, on_conflict=on_conflict)
        self.ledger = Ledger.open(f"sqlite:///{folder}/relay.db")
        self.ledger.administration.migrate()
        stack.callback(self.ledger.close)

    def configure(self, *, lease="30s", on_conflict="skip"):
        self.path.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                lease=lease,
                on_conflict=on_conflict,
                store=self.store_url,
                queue=self.queue,
                token=TOKEN,
                sandbox=self.sandbox.url,
                region=self.sandbox.region,
                project_id=self.sandbox.project_id,
                access_key=self.sandbox.access_key,
                secret_key=self.sandbox.secret_key,
                iam_user=self.sandbox.iam_user,
                iam_password=self.sandbox.iam_password,
                iam_domain=self.sandbox.iam_domain,
                inbox=self.inbox.url,
                secret=SECRET,
            )
        )

    def _client(self, service):
        client = boto3.client(
            service,
            endpoint_url=self.store_url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test-secret",
            config=Config(s3={"addressing_style": "path"}),
        )
        self.stack.callback(client.close)
        return client

    def announce_uploads(self):
        told = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        rule = {"QueueArn": told["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket="exports", NotificationConfiguration={"QueueConfigurations": [rule]}
        )

    def upload(self, key="prod/hello.zip", body=None, function="hello"):
        """Puts an archive; returns the record that announces it, as S3 writes it."""
        body = make_export(function) if body is None else body
        put = self.s3.put_object(Bucket="exports", Key=key, Body=body)
        return record(key, put["ETag"].strip('"'), len(body))

    def relay(self):
        """A relay in this process, its worker not started."""
        chosen = settings.load(self.path, {}, loader.settings_class)
        relay = Relay.open(chosen)
        relay.queue_poller.wait = 0.5
        self.stack.callback(relay.close)
        return relay

    def working(self):
        """A relay in this process with its worker running."""
        relay = self.relay()
        relay.start_worker()
        self.stack.callback(relay.stop_worker, 5)
        return relay

    def process(self, *arguments, **environment):
        """A relay command as its own process; killed at the end of the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "relay", "--config", str(self.path), *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=self.stack.enter_context((self.folder / "out.log").open("ab")),
            stderr=subprocess.STDOUT,
        )
        self.stack.callback(end, process)
        return process

    def deliveries(self, kind=None):
        return list(self.ledger.history.deliveries(DeliveryQuery(kind=kind, limit=200)).items)

    def imports(self):
        return self.deliveries(Kind.IMPORT)

    def settled(self, *, imports=1, within=20.0):
        """Waits until that many imports and all messages ended; the imports, newest first."""

        def ended():
            every = self.deliveries()
            found = [one for one in every if one.kind == Kind.IMPORT]
            return len(found) >= imports and all(one.state.finished for one in every)

        until(ended, within, lambda: [(d.kind, d.state, d.error) for d in self.deliveries()])
        return self.imports()

    def effective(self, function="hello"):
        """How many calls changed that function at the sandbox."""
        return sum(1 for call in self.sandbox.calls if call.applied and call.function == function)

    def received(self):
        """Bytes of import calls that the sandbox has read so far."""
        return sum(call.received for call in self.sandbox.calls if call.operation == "import")

    def told(self, kind):
        """The ids of the messages of one type that reached the webhook and were taken."""
        return [
            message.headers["webhook-id"]
            for message in self.inbox.messages
            if message.channel == "webhook" and message.json["type"] == kind
        ]

    def log(self):
        path = self.folder / "out.log"
        return path.read_text() if path.exists() else ""


def record(key, etag, size, *, time="2026-11-24T03:04:05.000Z", sequencer="0055AED6DCD90281E5"):
    """One S3 notification for an object, as the bucket writes it."""
    from urllib.parse import quote_plus

    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": time,
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": "exports"},
                    "object": {
                        "key": quote_plus(key, safe="/"),
                        "size": size,
                        "eTag": etag,
                        "sequencer": sequencer,
                    },
                },
            }
        ]
    }


def until(condition, within=20.0, why=lambda: ""):
    """Waits until the condition holds; fails with what `why` says when it does not in time."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {within} s: {why()}")


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def store_url():
    """One server for all: to stop one takes half a second."""
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


@pytest.fixture
def tools():
    """What tests of this folder share: until, record, free_port, TOKEN, State, utc_now."""
    from types import SimpleNamespace

    return SimpleNamespace(
        until=until, record=record, free_port=free_port, token=TOKEN, State=State, now=utc_now
    )
