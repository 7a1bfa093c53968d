"""The servers of the demo: S3 with a queue, the FunctionGraph sandbox, an inbox, and a relay.

All of them run in this process on loopback; nothing leaves the machine.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

from relay.app.relay import Relay
from relay.config.load import load
from relay.plugins import settings_class
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.inbox import InboxServer
from relay.web.app import create_app

BUCKET = "exports"
WEBHOOK_SECRET = "whsec_ZGVtby1zZWNyZXQtb2YtdGhlLXJlbGF5LWRlbW8="  # noqa: S105 - the demo's own

CONFIGURATION = """\
[database]
url = {ledger}

[delivery]
attempts = 3
first_delay = "1s"
longest_delay = "2s"

[outbound]
allow_private = ["127.0.0.0/8"]

[sources.exports]
kind = "s3"
endpoint_url = "{store}"
region = "us-east-1"
access_key_id = "demo"
secret_access_key = "demo-secret"
addressing_style = "path"
buckets = ["{bucket}"]
sqs_queue_url = "{queue}"
token = "demo-token"

[targets.sandbox]
kind = "functiongraph"
region = "{region}"
project_id = "{project_id}"
endpoint = "{sandbox}"
access_key = "{access_key}"
secret_key = "{secret_key}"

[channels.slack]
kind = "slack"
url = "{inbox}/slack/demo"

[channels.webhook]
kind = "webhook"
url = "{inbox}/webhook/demo"
secret = "{webhook_secret}"

[[routes]]
source = "exports"
key = "*.zip"
target = "sandbox"
channels = ["slack", "webhook"]
"""


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """The running servers, their addresses, and an S3 client."""

    relay: Relay
    sandbox: SandboxServer
    inbox: InboxServer
    store_url: str
    relay_url: str
    configuration: Path
    s3: Any
    bucket: str = BUCKET


@contextmanager
def isolated_environment() -> Iterator[None]:
    """Hide proxies for loopback addresses and all AWS settings from the demo."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("AWS_")]:
        del os.environ[name]
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        os.environ[name] = os.devnull
    no_proxy = before.get("no_proxy") or before.get("NO_PROXY")
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (no_proxy, "127.0.0.1", "localhost")))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def toml_string(text: str) -> str:
    """Quote a text for relay.toml. The path of the temporary folder may have any characters."""
    return json.dumps(text).replace("${", "$${")


def start_demo(stack: ExitStack, *, port: int = 0) -> DemoEnvironment:
    """Start all servers. Leaving `stack` stops them and removes their files."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    # The demo prints failed deliveries itself; errors are bugs.
    logging.getLogger("relay").setLevel(logging.ERROR)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-demo-")))
    store = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    stack.callback(store.stop)
    store_url = "http://{}:{}".format(*store.get_host_and_port())
    sandbox = stack.enter_context(SandboxServer())
    inbox = stack.enter_context(InboxServer(webhook_secret=WEBHOOK_SECRET))
    s3, queue = _bucket_with_queue(stack, store_url)
    configuration = folder / "relay.toml"
    configuration.write_text(
        CONFIGURATION.format(
            ledger=toml_string(f"sqlite:///{folder}/relay.db"),
            store=store_url,
            bucket=BUCKET,
            queue=queue,
            region=sandbox.region,
            project_id=sandbox.project_id,
            sandbox=sandbox.url,
            access_key=sandbox.access_key,
            secret_key=sandbox.secret_key,
            inbox=inbox.url,
            webhook_secret=WEBHOOK_SECRET,
        )
    )
    relay = Relay.open(load(configuration, {}, settings_class))
    stack.callback(relay.close)
    relay_url = _serve(stack, relay, port)
    relay.queue_poller.wait = 0.5  # Short polls, so that the demo stops soon after Ctrl-C.
    relay.start_worker()
    stack.callback(relay.stop_worker, 5)
    return DemoEnvironment(relay, sandbox, inbox, store_url, relay_url, configuration, s3)


def _bucket_with_queue(stack: ExitStack, store_url: str) -> tuple[Any, str]:
    s3, sqs = (
        boto3.client(
            service,
            endpoint_url=store_url,
            region_name="us-east-1",
            aws_access_key_id="demo",
            aws_secret_access_key="demo-secret",  # noqa: S106 - the demo's own
            config=Config(s3={"addressing_style": "path"}),
        )
        for service in ("s3", "sqs")
    )
    stack.callback(s3.close)
    stack.callback(sqs.close)
    s3.create_bucket(Bucket=BUCKET)
    queue = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    response = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    rule = {"QueueArn": response["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]}
    )
    return s3, queue


def _serve(stack: ExitStack, relay: Relay, port: int) -> str:
    app = create_app(relay.ledger, relay.intake, relay.operations, metrics=relay.metrics)
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="relay demo web", daemon=True)
    thread.start()
    stack.callback(server.server_close)
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"
