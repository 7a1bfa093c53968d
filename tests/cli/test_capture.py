"""`relay sources capture`: a received notification becomes a test case without secrets."""

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

from relay.app.relay import Relay
from relay.cli import capture_case
from relay.config.load import SourceSettings, load
from relay.model import Incoming, Origin, utc_now
from relay.plugins import find, settings_class

from .conftest import CONFIGURATION, Run

TOKEN = "a-hook-token-that-is-long"
NOTIFICATIONS = Path(__file__).parents[1] / "notifications"
MINIO_PUT = NOTIFICATIONS / "s3" / "minio-put.http"


@pytest.fixture(scope="module")
def case_runner() -> Any:
    """The module that runs the cases of tests/notifications."""
    path = NOTIFICATIONS / "test_notifications.py"
    spec = importlib.util.spec_from_file_location("case_runner", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def relay(configured: Path) -> Iterator[Relay]:
    text = CONFIGURATION.replace('buckets = ["exports"]', 'buckets = ["exports", "images"]')
    configured.write_text(f'{text}[database]\nurl = "sqlite:///{configured.parent}/r.db"')
    relay = Relay.open(load(configured, {}, settings_class))
    yield relay
    relay.close()


Send = Callable[..., None]


@pytest.fixture
def send(relay: Relay) -> Send:
    """Return a function that passes in a notification as the hook or the queue does."""

    def send(body: bytes, *, query: bool = False, queue: bool = False, **headers: str) -> None:
        token = {"authorization": f"Bearer {TOKEN}"}
        extra = {name.replace("_", "-"): value for name, value in headers.items()}
        incoming = Incoming(
            "exports",
            body,
            utc_now(),
            Origin.QUEUE if queue else Origin.HOOK,
            path="/hooks/exports",
            query={"token": TOKEN} if query else {},
            headers={} if queue else extra if query else {**token, **extra},
        )
        (relay.intake.accept_queued if queue else relay.intake.accept)(incoming)

    return send


def body_of(case: Path) -> bytes:
    return case.read_bytes().partition(b"\r\n\r\n")[2]


def captured(run: Run, *options: str) -> tuple[Path, Path]:
    result = run("sources", "capture", "exports", "--last", "--out", "out", *options)
    assert result.exit_code == 0, result.output
    http, expected = (Path(line) for line in result.stdout.splitlines()[:2])
    assert (http.parent, expected.parent) == (Path("out/s3"), Path("out/s3"))
    assert http.stem == expected.stem
    return http, expected


def passes(case_runner: Any, http: Path, json_file: Path) -> Any:
    """Run the case as test_notifications does; return the content of the .json file."""
    expected = json.loads(json_file.read_text())
    cls = find("handlers", "s3")
    table = {"kind": "s3", "token": "hook-token", **case_runner.DEFAULTS["s3"]}
    settings = cls.Settings.model_validate({**table, **expected.get("settings", {})})
    handler = cls("exports", settings)
    try:
        parsed = case_runner.received(handler, http.read_bytes())
        assert parsed.verdict == expected["verdict"]
        assert [case_runner.as_json(event) for event in parsed.events] == expected["events"]
        assert expected.get("reason", "") in (parsed.reason or "")
    finally:
        handler.close()
    return expected


def test_a_notification_becomes_a_case_that_passes(run: Run, send: Send, case_runner: Any) -> None:
    send(body_of(MINIO_PUT), content_type="application/json", user_agent="MinIO (linux; amd64)")
    http, json_file = captured(run)
    expected = passes(case_runner, http, json_file)
    assert expected["verdict"] == "accepted"
    assert len(expected["events"]) == 1
    assert expected["why"].startswith("captured ")
    assert http.read_bytes().endswith(body_of(MINIO_PUT))
    assert b"user-agent: MinIO (linux; amd64)" in http.read_bytes()


def test_the_case_has_no_secret(run: Run, send: Send, case_runner: Any) -> None:
    document = json.loads(body_of(MINIO_PUT))
    document["echo"] = f"Bearer {TOKEN}"
    document["upload"] = "https://b.example/a?X-Amz-Signature=0badc0de&x=1&sig=5eed"
    document["headers"] = {"Authorization": "AWS4 s3cr3t"}
    send(
        json.dumps(document).encode(),
        cookie="session=s3cr3t",
        x_forwarded_for="192.0.2.7",
        x_api_key="s3cr3t",
        host="internal.example",
        referer=f"https://relay.example.com/?token={TOKEN}",
    )
    http, json_file = captured(run)
    passes(case_runner, http, json_file)
    text = http.read_bytes().decode() + json_file.read_text()
    for secret in (TOKEN, "s3cr3t", "0badc0de", "5eed", "192.0.2.7", "internal.example"):
        assert secret not in text
    assert '"echo": "Bearer hook-token"' in text
    assert "authorization: Bearer hook-token" in text


def test_a_token_in_the_url_stays_in_the_url(run: Run, send: Send, case_runner: Any) -> None:
    send(body_of(MINIO_PUT), query=True, content_type="application/json")
    http, json_file = captured(run)
    passes(case_runner, http, json_file)
    assert http.read_bytes().startswith(b"POST /hooks/exports?token=hook-token HTTP/1.1\r\n")


def test_a_notification_from_a_queue_becomes_a_case(run: Run, send: Send, case_runner: Any) -> None:
    message = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:us-east-1:210987654321:uploads",
        "Message": body_of(MINIO_PUT).decode(),
        "UnsubscribeURL": "https://sns.example/?Token=s3cr3t",
    }
    send(json.dumps(message).encode(), queue=True)
    http, json_file = captured(run)
    assert len(passes(case_runner, http, json_file)["events"]) == 1
    assert b"s3cr3t" not in http.read_bytes()
    assert b"210987654321" in http.read_bytes()
    hidden, json_file = captured(run, "--hide-accounts")
    passes(case_runner, hidden, json_file)
    assert b"210987654321" not in hidden.read_bytes()


def test_a_signed_notification_becomes_a_case_without_the_signature(
    run: Run, configured: Path, case_runner: Any
) -> None:
    """A test has no signing key, so the case has the unwrapped records only."""
    text = CONFIGURATION.replace("token =", 'accept = ["signed"]\nsecret =')
    configured.write_text(f'{text}[database]\nurl = "sqlite:///{configured.parent}/r.db"')
    relay = Relay.open(load(configured, {}, settings_class))
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
    http, json_file = captured(run)
    (event,) = passes(case_runner, http, json_file)["events"]
    assert event["identity"] == "id:upload-7"
    assert b"signature" not in http.read_bytes()


def test_an_unreadable_notification_becomes_a_case_with_the_reason(
    run: Run, send: Send, case_runner: Any
) -> None:
    send(b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": 7}]}')
    http, json_file = captured(run)
    expected = passes(case_runner, http, json_file)
    assert expected["verdict"] == "unreadable"
    assert expected["reason"]


def test_a_duplicate_becomes_a_case_of_its_content(run: Run, send: Send, case_runner: Any) -> None:
    send(body_of(MINIO_PUT))
    send(body_of(MINIO_PUT))
    http, json_file = captured(run)
    assert passes(case_runner, http, json_file)["verdict"] == "accepted"
    assert "duplicate" in json.loads(json_file.read_text())["why"]


def test_a_binary_body_is_unchanged(run: Run, send: Send, case_runner: Any) -> None:
    body = b'\xff\xfe{"Records": \x00\r\n\r\n'
    send(body)
    http, json_file = captured(run)
    passes(case_runner, http, json_file)
    assert http.read_bytes().endswith(b"\r\n\r\n" + body)


def test_without_a_notification_the_error_names_possible_causes(run: Run, relay: Relay) -> None:
    result = run("sources", "capture", "exports", "--last")
    assert result.exit_code == 1
    assert "401" in result.stderr
    assert run("sources", "capture", "exports", "--timeout", "soon").exit_code == 2
    assert run("sources", "capture", "exports", "--timeout", "1s").exit_code == 1


def test_it_waits_for_the_next_notification(configured: Path, send: Send, case_runner: Any) -> None:
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
        send(body_of(MINIO_PUT))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    http, json_file = (configured.parent / line for line in output.splitlines()[:2])
    assert len(passes(case_runner, http, json_file)["events"]) == 1


@pytest.mark.parametrize(
    "name", ["X-Goog-Signature", "x-obs-security-token", "q-signature", "code", "access_token"]
)
def test_every_parameter_that_signs_a_url_is_redacted(name: str) -> None:
    settings = SourceSettings(kind="s3")
    body = f'{{"url": "https://x.example/a?{name}=hush&part=1"}}'.encode()
    expected = body.replace(b"hush", b"redacted")
    assert capture_case._redact(body, settings, hide=False) == expected
