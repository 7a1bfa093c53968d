"""`relay sources capture`: what came is a test case, and nobody's secret is in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay import plugins as loader
from relay.app.relay import Relay
from relay.config.load import load
from relay.model import Incoming, Origin, utc_now
from relay.plugins import find

from .conftest import CONFIGURATION, Run

TOKEN = "a-hook-token-that-is-long"
NOTIFICATIONS = Path(__file__).parents[1] / "notifications"
ODD = NOTIFICATIONS / "s3" / "minio-put.http"


@pytest.fixture(scope="module")
def runner() -> Any:
    """The functions that run the cases of tests/notifications."""
    path = NOTIFICATIONS / "test_notifications.py"
    spec = importlib.util.spec_from_file_location("the_runner", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def relay(configured: Path) -> Iterator[Relay]:
    text = CONFIGURATION.replace('buckets = ["exports"]', 'buckets = ["exports", "images"]')
    configured.write_text(f'{text}[database]\nurl = "sqlite:///{configured.parent}/r.db"')
    made = Relay.open(load(configured, {}, loader.settings_class))
    yield made
    made.close()


Send = Callable[..., None]


@pytest.fixture
def send(relay: Relay) -> Send:
    """Hands a notification in as the hook or the queue does."""

    def send(body: bytes, *, query: bool = False, queue: bool = False, **headers: str) -> None:
        shown = {"authorization": f"Bearer {TOKEN}"}
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        incoming = Incoming(
            "exports",
            body,
            utc_now(),
            Origin.QUEUE if queue else Origin.HOOK,
            path="/hooks/exports",
            query={"token": TOKEN} if query else {},
            headers={} if queue else told if query else {**shown, **told},
        )
        (relay.intake.pull if queue else relay.intake.accept)(incoming)

    return send


def body_of(case: Path) -> bytes:
    return case.read_bytes().partition(b"\r\n\r\n")[2]


def captured(run: Run, *options: str) -> tuple[Path, Path]:
    result = run("sources", "capture", "exports", "--last", "--out", "out", *options)
    assert result.exit_code == 0, result.output
    http, answer = (Path(line) for line in result.stdout.splitlines()[:2])
    assert (http.parent, answer.parent) == (Path("out/s3"), Path("out/s3"))
    assert http.stem == answer.stem
    return http, answer


def passes(runner: Any, http: Path, answer: Path) -> Any:
    """As test_notifications does with every case; returns what the .json says."""
    expected = json.loads(answer.read_text())
    cls = find("handlers", "s3")
    table = {"kind": "s3", "token": "hook-token", **runner.DEFAULTS["s3"]}
    settings = cls.Settings.model_validate({**table, **expected.get("settings", {})})
    handler = cls("exports", settings)
    try:
        reading = runner.received(handler, http.read_bytes())
        assert reading.verdict == expected["verdict"]
        assert [runner.told(event) for event in reading.events] == expected["events"]
        assert expected.get("reason", "") in (reading.reason or "")
    finally:
        handler.close()
    return expected


def test_a_notification_becomes_a_case_that_passes(run: Run, send: Send, runner: Any) -> None:
    send(body_of(ODD), content_type="application/json", user_agent="MinIO (linux; amd64)")
    http, answer = captured(run)
    expected = passes(runner, http, answer)
    assert expected["verdict"] == "accepted"
    assert len(expected["events"]) == 1
    assert expected["why"].startswith("captured ")
    assert http.read_bytes().endswith(body_of(ODD))
    assert b"user-agent: MinIO (linux; amd64)" in http.read_bytes()


def test_no_secret_is_in_it(run: Run, send: Send, runner: Any) -> None:
    told = json.loads(body_of(ODD))
    told["echo"] = f"Bearer {TOKEN}"
    told["upload"] = "https://b.example/a?X-Amz-Signature=0badc0de&x=1&sig=5eed"
    told["headers"] = {"Authorization": "AWS4 s3cr3t"}
    send(
        json.dumps(told).encode(),
        cookie="session=s3cr3t",
        x_forwarded_for="192.0.2.7",
        x_api_key="s3cr3t",
        host="internal.example",
        referer=f"https://relay.example.com/?token={TOKEN}",
    )
    http, answer = captured(run)
    passes(runner, http, answer)
    text = http.read_bytes().decode() + answer.read_text()
    for secret in (TOKEN, "s3cr3t", "0badc0de", "5eed", "192.0.2.7", "internal.example"):
        assert secret not in text
    assert '"echo": "Bearer hook-token"' in text
    assert "authorization: Bearer hook-token" in text


def test_a_token_in_the_address_stays_there(run: Run, send: Send, runner: Any) -> None:
    send(body_of(ODD), query=True, content_type="application/json")
    http, answer = captured(run)
    passes(runner, http, answer)
    assert http.read_bytes().startswith(b"POST /hooks/exports?token=hook-token HTTP/1.1\r\n")


def test_what_a_queue_gave_is_a_case_too(run: Run, send: Send, runner: Any) -> None:
    message = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:us-east-1:210987654321:news",
        "Message": body_of(ODD).decode(),
        "UnsubscribeURL": "https://sns.example/?Token=s3cr3t",
    }
    send(json.dumps(message).encode(), queue=True)
    http, answer = captured(run)
    assert len(passes(runner, http, answer)["events"]) == 1
    assert b"s3cr3t" not in http.read_bytes()
    assert b"210987654321" in http.read_bytes()
    hidden, answer = captured(run, "--hide-accounts")
    passes(runner, hidden, answer)
    assert b"210987654321" not in hidden.read_bytes()


def test_what_was_signed_is_a_case_without_its_signature(
    run: Run, configured: Path, runner: Any
) -> None:
    """No test can sign for others: the records alone are kept, with what the wrapping gave them."""
    text = CONFIGURATION.replace("token =", 'accept = ["signed"]\nsecret =')
    configured.write_text(f'{text}[database]\nurl = "sqlite:///{configured.parent}/r.db"')
    relay = Relay.open(load(configured, {}, loader.settings_class))
    body = b'{"bucket": "exports", "key": "prod/hello.zip"}'
    now = str(int(utc_now().timestamp()))
    digest = hmac.digest(TOKEN.encode(), f"upload-7.{now}.".encode() + body, hashlib.sha256)
    headers = {
        "webhook-id": "upload-7",
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    relay.intake.accept(Incoming("exports", body, utc_now(), headers=headers))
    relay.close()
    http, answer = captured(run)
    (event,) = passes(runner, http, answer)["events"]
    assert event["identity"] == "id:upload-7"
    assert b"signature" not in http.read_bytes()


def test_what_cannot_be_read_tells_why(run: Run, send: Send, runner: Any) -> None:
    send(b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": 7}]}')
    http, answer = captured(run)
    expected = passes(runner, http, answer)
    assert expected["verdict"] == "unreadable"
    assert expected["reason"]


def test_a_duplicate_is_a_case_of_what_it_says(run: Run, send: Send, runner: Any) -> None:
    send(body_of(ODD))
    send(body_of(ODD))
    http, answer = captured(run)
    assert passes(runner, http, answer)["verdict"] == "accepted"
    assert "duplicate" in json.loads(answer.read_text())["why"]


def test_bytes_that_are_no_text_stay_as_they_are(run: Run, send: Send, runner: Any) -> None:
    body = b'\xff\xfe{"Records": \x00\r\n\r\n'
    send(body)
    http, answer = captured(run)
    passes(runner, http, answer)
    assert http.read_bytes().endswith(b"\r\n\r\n" + body)


def test_without_any_notification_it_says_what_to_look_at(run: Run, relay: Relay) -> None:
    said = run("sources", "capture", "exports", "--last")
    assert said.exit_code == 1
    assert "401" in said.stderr
    assert run("sources", "capture", "exports", "--timeout", "soon").exit_code == 2
    assert run("sources", "capture", "exports", "--timeout", "1s").exit_code == 1


def test_it_waits_for_the_next(configured: Path, send: Send, runner: Any) -> None:
    send(b'{"Records": []}')
    command = [sys.executable, "-m", "relay", "--config", str(configured)]
    command += ["sources", "capture", "exports", "--timeout", "60s", "--out", "out"]
    with subprocess.Popen(
        command,
        cwd=configured.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    ) as process:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        send(body_of(ODD))
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    http, answer = (configured.parent / line for line in said.splitlines()[:2])
    assert len(passes(runner, http, answer)["events"]) == 1
