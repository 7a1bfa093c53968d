"""The scripts in handlers/README.md that announce an object, run unchanged against a relay."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from relay import plugins as loader
from relay.app.relay import Relay
from relay.config.load import load
from relay.ledger import DeliveryQuery
from relay.model import State
from relay.web.app import create_app

README = Path(__file__).parents[2] / "handlers" / "README.md"
SECRET = "a-secret-of-the-scripts-that-is-long"
PROGRAMS = {"py": [sys.executable], "sh": ["sh", "-eu"]}

CONFIGURATION = """
[database]
url = "sqlite:///{folder}/relay.db"
[sources.exports]
kind = "s3"
endpoint_url = "http://127.0.0.1:9"
region = "us-east-1"
access_key_id = "key"
secret_access_key = "secret-key"
accept = ["signed"]
secret = "{secret}"
[targets.prod]
kind = "functiongraph"
region = "cn-north-4"
project_id = "0123456789abcdef0123456789abcdef"
endpoint = "http://127.0.0.1:9"
access_key = "ak"
secret_key = "sk-of-the-tests"
[[routes]]
source = "exports"
key = "prod/*.zip"
target = "prod"
"""


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        pass


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    file = tmp_path / "relay.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path, secret=SECRET))
    made = Relay.open(load(file, {}, loader.settings_class))
    yield made
    made.close()


@pytest.fixture
def url(relay: Relay) -> Iterator[str]:
    """The address of the hook, served on loopback."""
    app = create_app(relay.ledger, relay.intake, relay.operations, metrics=relay.metrics)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/exports"
    server.shutdown()
    thread.join(10)
    server.server_close()


def script(name: str) -> str:
    (found,) = re.findall(rf"```\w+\n# {re.escape(name)}\n(.*?)```", README.read_text(), re.DOTALL)
    return str(found)


def announce(tmp_path: Path, name: str, url: str, secret: str) -> subprocess.CompletedProcess[str]:
    if name.endswith(".sh") and not (shutil.which("curl") and shutil.which("openssl")):
        pytest.skip("curl and openssl are not here")
    file = tmp_path / name
    file.write_text(script(name))
    return subprocess.run(
        [*PROGRAMS[name.rpartition(".")[2]], str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HOOK_URL": url, "HOOK_SECRET": secret, "no_proxy": "127.0.0.1"},
    )


@pytest.mark.parametrize("name", ["announce.py", "announce.sh"])
def test_a_script_announces_an_object(name: str, tmp_path: Path, url: str, relay: Relay) -> None:
    done = announce(tmp_path, name, url, SECRET)
    assert done.returncode == 0, done.stdout + done.stderr
    (delivery,) = relay.ledger.history.deliveries(DeliveryQuery()).items
    assert (delivery.bucket, delivery.key) == ("exports", "prod/hello.zip")
    assert (delivery.destination, delivery.state) == ("prod", State.PENDING)


@pytest.mark.parametrize("name", ["announce.py", "announce.sh"])
def test_a_script_with_a_wrong_secret_fails(
    name: str, tmp_path: Path, url: str, relay: Relay
) -> None:
    done = announce(tmp_path, name, url, "another-secret-that-is-long-too")
    assert done.returncode != 0
    assert "401" in done.stdout + done.stderr
    assert relay.ledger.history.notifications().items == ()
