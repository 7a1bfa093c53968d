"""A world on loopback: S3 and SQS of moto, sandbox, inbox, and relays over a common ledger."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote_plus

import boto3
import requests
from botocore.config import Config

from relay.app.relay import Relay
from relay.config.load import load
from relay.ledger import DeliveryQuery, Ledger
from relay.model import Incoming, Kind, utc_now
from relay.plugins import settings_class
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
gone_after = "1s"

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
    """Storage, queue, sandbox and inbox around the relays that a test starts."""

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
        """Configure the bucket to send notifications to the queue."""
        rule = {"QueueArn": self.queue_attribute("QueueArn"), "Events": ["s3:ObjectCreated:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket="exports", NotificationConfiguration={"QueueConfigurations": [rule]}
        )

    def queue_attribute(self, name):
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=[name])
        return found["Attributes"][name]

    def upload(self, key="prod/hello.zip", body=None, function="hello"):
        """Put an archive; return the notification for it, as S3 writes it."""
        body = make_export(function) if body is None else body
        put = self.s3.put_object(Bucket="exports", Key=key, Body=body)
        return record(key, put["ETag"].strip('"'), len(body))

    def relay(self):
        """Open a relay in this process without starting the worker."""
        relay = Relay.open(load(self.path, {}, settings_class))
        relay.queue_poller.wait = 0.5
        self.stack.callback(relay.close)
        return relay

    def running_relay(self):
        """Open a relay in this process and start the worker."""
        relay = self.relay()
        self.start_worker(relay)
        return relay

    def start_worker(self, relay):
        relay.start_worker()
        self.stack.callback(relay.stop_worker, 5)

    def process(self, *arguments, **environment):
        """Start a relay command as a process; it is killed at the end of the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "relay", "--config", str(self.path), *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=self.stack.enter_context((self.folder / "out.log").open("ab")),
            stderr=subprocess.STDOUT,
        )
        self.stack.callback(kill, process)
        return process

    def deliveries(self, kind=None):
        return list(self.ledger.history.deliveries(DeliveryQuery(kind=kind, limit=200)).items)

    def imports(self):
        return self.deliveries(Kind.IMPORT)

    def settled(self, *, imports=1, within=20.0):
        """Wait until that many imports and all messages are finished; return the imports."""

        def are_finished():
            deliveries = self.deliveries()
            count = sum(delivery.kind == Kind.IMPORT for delivery in deliveries)
            return count >= imports and all(delivery.state.finished for delivery in deliveries)

        until(are_finished, within, lambda: [(d.kind, d.state, d.error) for d in self.deliveries()])
        return self.imports()

    def applied_calls(self, function="hello"):
        """Count the calls that changed the function at the sandbox."""
        return sum(1 for call in self.sandbox.calls if call.applied and call.function == function)

    def received(self):
        """Count the bytes of import calls that the sandbox has read so far."""
        return sum(call.received for call in self.sandbox.calls if call.operation == "import")

    def message_ids(self, kind):
        """Return the ids of the messages of a type that the webhook accepted."""
        return [
            message.headers["webhook-id"]
            for message in self.inbox.messages
            if message.channel == "webhook" and message.json["type"] == kind
        ]

    def webhook_messages(self):
        return [message for message in self.inbox.messages if message.channel == "webhook"]

    def log(self):
        path = self.folder / "out.log"
        return path.read_text() if path.exists() else ""


def record(key, etag, size, *, time="2026-11-24T03:04:05.000Z", sequencer="0055AED6DCD90281E5"):
    """Build the S3 notification of an object."""
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


def accept(relay, record, **headers):
    """Accept a notification in this process, as the hook does."""
    headers = {"authorization": f"Bearer {TOKEN}", **headers}
    body = json.dumps(record).encode()
    return relay.intake.accept(Incoming("exports", body, utc_now(), headers=headers))


def until(condition, within=20.0, why=lambda: ""):
    """Wait for a true value of `condition` and return it; fails with `why()` after `within` s."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {within} s: {why()}")


def kill(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
