"""Faults as seen by the client."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.errors import ConfigError
from relay.testing.sandbox.faults import Fault, parse_fault
from relay.testing.sandbox.functiongraph import SandboxServer

from .conftest import Client, code_of, export, import_fields

BIG = json.dumps(import_fields("big", export("big", code=bytes(3_000_000)))).encode()


def connect(sandbox: SandboxServer, length: int) -> socket.socket:
    """Open a connection and send the headers of an import."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=10)
    raw.sendall(
        f"POST /v2/{sandbox.project_id}/fgs/functions/import HTTP/1.1\r\nHost: {host}\r\n"
        f"X-Auth-Token: {sandbox.issue_token()}\r\nContent-Length: {length}\r\n\r\n".encode()
    )
    return raw


def send_and_read(raw: socket.socket, body: bytes) -> bytes:
    raw.sendall(body)
    return raw.recv(1)


def test_a_status_is_returned_without_effect(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(operation="import", status=500, code="FSS.0500")
    response = client.import_("hello")
    assert code_of(response) == (500, "FSS.0500")
    assert response.json()["error_msg"] == "Internal error, please try again later"
    [call] = sandbox.calls
    assert (call.applied, call.received) == (False, len(response.request.body))
    assert client.import_("hello").status_code == 200


@pytest.mark.parametrize(
    ("status", "code"), [(401, "FSS.0401"), (409, "FSS.1061"), (429, "FSS.0429"), (503, "FSS.0503")]
)
def test_a_status_has_a_default_code(
    sandbox: SandboxServer, client: Client, status: int, code: str
) -> None:
    sandbox.fault(status=status)
    assert code_of(client.import_("hello")) == (status, code)


def test_a_gateway_code_has_a_request_id(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(status=502, code="APIGW.0201", message="Service is currently unavailable")
    response = client.import_("hello")
    assert response.json() == {
        "error_code": "APIGW.0201",
        "error_msg": "Service is currently unavailable",
        "request_id": response.headers["X-Request-Id"],
    }


def test_retry_after_is_sent_as_given(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(status=429, retry_after=7)
    sandbox.fault(status=503, retry_after="Fri, 01 Jan 2027 00:00:00 GMT")
    assert client.import_("hello").headers["Retry-After"] == "7"
    assert client.import_("hello").headers["Retry-After"] == "Fri, 01 Jan 2027 00:00:00 GMT"


@pytest.mark.parametrize("commit", [False, True])
def test_any_text_can_be_the_response(sandbox: SandboxServer, client: Client, commit: bool) -> None:
    sandbox.fault(answer="{}", commit=commit)
    response = client.import_("hello")
    assert (response.status_code, response.text) == (200, "{}")
    assert ("hello" in sandbox.functions) == commit
    assert parse_fault("config:answer={},status=204").answer == "{}"


def test_faults_are_used_in_order(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(status=500, times=2)
    sandbox.fault(status=429)
    answers = [client.import_("hello").status_code for _ in range(5)]
    assert answers == [500, 500, 429, 200, 409]


def test_a_fault_can_last_until_it_is_removed(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(operation="*", status=503, times=None)
    assert {client.call("GET", "/functions").status_code for _ in range(4)} == {503}
    assert sandbox.faults.clear() == 1
    assert client.call("GET", "/functions").status_code == 200


def test_a_fault_affects_only_its_operation(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(operation="config", status=500)
    assert client.import_("hello").status_code == 200
    assert client.on("default:hello", "GET", "/config").status_code == 500


def test_an_unauthenticated_call_uses_no_fault(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(operation="list", status=500)
    client.call("GET", "/functions", headers={"X-Auth-Token": "made up"})
    assert client.call("GET", "/functions").status_code == 500


def test_commit_executes_the_call_before_the_wrong_response(
    sandbox: SandboxServer, client: Client
) -> None:
    sandbox.fault(status=500, commit=True)
    assert client.import_("hello").status_code == 500
    assert list(sandbox.functions) == ["hello"]
    assert sandbox.calls[-1].applied
    assert client.import_("hello").status_code == 409
    assert len(sandbox.imports) == 1


def test_drop_resets_the_connection_without_a_response(sandbox: SandboxServer) -> None:
    sandbox.fault(drop=True)
    body = json.dumps(import_fields()).encode()
    with connect(sandbox, len(body)) as raw:
        raw.sendall(body)
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    assert sandbox.functions == {}
    assert (sandbox.calls[-1].status, sandbox.calls[-1].received) == (None, len(body))


def test_commit_then_drop_leaves_the_function(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(commit=True, drop=True)
    with pytest.raises(requests.ConnectionError):
        client.import_("hello")
    assert list(sandbox.functions) == ["hello"]
    [call] = sandbox.imports
    assert call.status is None
    assert client.on("default:hello", "GET", "/config").status_code == 200


def test_cut_after_resets_after_the_given_bytes(sandbox: SandboxServer) -> None:
    sandbox.fault(cut_after=100_000)
    with connect(sandbox, len(BIG)) as raw, pytest.raises(ConnectionError):
        send_and_read(raw, BIG)
    assert sandbox.calls[-1].received == 100_000
    assert sandbox.functions == {}


def test_cut_after_with_a_status_responds_early(sandbox: SandboxServer) -> None:
    sandbox.fault(status=413, cut_after=100_000)
    with connect(sandbox, len(BIG)) as raw:
        raw.sendall(BIG[:200_000])
        answer = raw.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in answer
    assert sandbox.calls[-1].received == 100_000


def test_a_client_that_continues_sending_receives_the_early_response(
    sandbox: SandboxServer, client: Client
) -> None:
    sandbox.fault(status=401, code="APIGW.0301", cut_after=0)
    response = client.call("POST", "/functions/import", data=BIG)
    assert code_of(response) == (401, "APIGW.0301")
    assert sandbox.calls[-1].received == 0


def test_a_delay_precedes_the_regular_response(sandbox: SandboxServer, client: Client) -> None:
    sandbox.fault(delay=0.3)
    began = time.monotonic()
    assert client.import_("hello").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_a_delayed_call_is_executed_before_the_delay(
    sandbox: SandboxServer, client: Client, wait_until: Callable[..., None]
) -> None:
    sandbox.fault(delay=30)
    thread = threading.Thread(target=_ignoring, args=(client,))
    thread.start()
    wait_until(lambda: sandbox.functions)
    assert not sandbox.calls[0].finished
    sandbox.close()
    thread.join()


def _ignoring(client: Client) -> None:
    with contextlib.suppress(requests.ConnectionError):
        client.import_("hello")


def test_trickle_reads_slowly(sandbox: SandboxServer, client: Client) -> None:
    body = json.dumps(import_fields()).encode()
    sandbox.fault(trickle=len(body) * 4)
    began = time.monotonic()
    assert client.call("POST", "/functions/import", data=body).status_code == 200
    assert time.monotonic() - began >= 0.2


def test_a_fault_can_affect_iam(sandbox: SandboxServer) -> None:
    sandbox.fault(operation="token", status=503, code="APIGW.0613")
    response = requests.post(f"{sandbox.url}/v3/auth/tokens", json={}, timeout=10)
    assert code_of(response) == (503, "APIGW.0613")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("import:status=500,times=3", Fault("import", status=500, times=3)),
        ("import:commit,drop", Fault("import", commit=True, drop=True)),
        ("import:commit=true, drop=false,status=504", Fault(commit=True, status=504)),
        ("*:status=503,times=always", Fault("*", status=503, times=None)),
        ("token:delay=2.5", Fault("token", delay=2.5)),
        ("config:delay=2", Fault("config", delay=2)),
        ("import:cut_after=65536", Fault(cut_after=65536)),
        (
            "import:status=429,code=FSS.0429,retry_after=3,message=wait a bit",
            Fault(status=429, code="FSS.0429", retry_after="3", message="wait a bit"),
        ),
    ],
)
def test_a_fault_is_parsed_from_a_spec(spec: str, expected: Fault) -> None:
    assert parse_fault(spec) == expected


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("imports:status=500", "fault.operation"),
        ("import:stauts=500", "fault.stauts"),
        ("import:status=abc", "fault.status"),
        ("import:status=1000", "fault.status"),
        ("import:status", "fault.status"),
        ("import:times=-1", "fault.times"),
        ("import:delay=-1", "fault.delay"),
        ("import:commit=1", "fault.commit"),
        ("import:code=FSS.0500", "fault.code"),
        ("import:status=429,retry_after=a\r\nb", "fault.retry_after"),
        ("", "fault.operation"),
    ],
)
def test_an_invalid_fault_is_reported(spec: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fault(spec)
    assert caught.value.path == path


def test_an_invalid_fault_in_python_is_reported(sandbox: SandboxServer) -> None:
    wrong: Any = {"status": "500"}
    with pytest.raises(ConfigError, match=r"fault\.status"):
        sandbox.fault(**wrong)


def test_a_client_reset_during_the_body_ends_the_call(sandbox: SandboxServer) -> None:
    with connect(sandbox, len(BIG)) as raw:
        raw.sendall(BIG[:200_000])
        end = time.monotonic() + 10
        while not (sandbox.calls and sandbox.calls[-1].received) and time.monotonic() < end:
            time.sleep(0.01)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while not sandbox.calls[-1].finished and time.monotonic() < end:
        time.sleep(0.01)
    [call] = sandbox.calls
    assert (call.finished, call.applied, call.status) == (True, False, None)
