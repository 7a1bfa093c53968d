"""The HTTP server of sandbox and inbox: connections, lengths and clean shutdown."""

import http.client
import logging
import socket
import threading

import pytest
import requests

from relay.errors import ConfigError
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.inbox import InboxServer

from .conftest import Client, import_fields


def port_of(sandbox: SandboxServer) -> int:
    return int(sandbox.url.rsplit(":", 1)[-1])


def raw_answer(sandbox: SandboxServer, head: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port_of(sandbox)), timeout=10) as raw:
        raw.sendall(head)
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
        return answer


def test_a_connection_serves_many_calls(sandbox: SandboxServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(sandbox))
    connection.connect()
    first = connection.sock
    headers = {"X-Auth-Token": sandbox.issue_token()}
    for _ in range(3):
        connection.request("GET", f"/v2/{sandbox.project_id}/fgs/functions", headers=headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        assert connection.sock is first
    connection.close()


def test_a_head_response_has_no_body(sandbox: SandboxServer) -> None:
    client = Client(sandbox)
    with client.session:
        response = client.call("HEAD", "/functions")
        assert (response.status_code, response.content) == (200, b"")
        assert client.call("GET", "/functions").status_code == 200


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "٣", "9" * 30])
def test_a_wrong_length_is_a_bad_request(sandbox: SandboxServer, length: str) -> None:
    head = (
        f"POST /v2/x/fgs/functions/import HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"
    )
    assert raw_answer(sandbox, head.encode()).startswith(b"HTTP/1.1 400 ")


def test_a_wrong_method_is_an_error(sandbox: SandboxServer) -> None:
    response = requests.patch(f"{sandbox.url}/v3/auth/tokens", timeout=10)
    assert response.status_code == 405
    assert response.json()["error_code"] == "APIGW.0101"


def test_a_public_address_is_refused() -> None:
    for make in (SandboxServer, InboxServer):
        with pytest.raises(ConfigError, match="is reachable from other machines"):
            make(host="0.0.0.0").start()


def test_a_public_address_can_be_allowed() -> None:
    with SandboxServer(host="0.0.0.0", allow_remote=True) as sandbox:
        url = f"http://127.0.0.1:{port_of(sandbox)}/v2/{sandbox.project_id}/fgs/functions"
        headers = {"X-Auth-Token": sandbox.issue_token()}
        assert requests.get(url, headers=headers, timeout=10).status_code == 200


def test_a_port_in_use_is_an_error_that_does_not_end_the_process(sandbox: SandboxServer) -> None:
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=port_of(sandbox)).start()


def test_close_leaves_no_thread_connection_or_file() -> None:
    before = set(threading.enumerate())
    sandbox = SandboxServer()
    sandbox.start()
    client = Client(sandbox)
    with client.session:
        client.import_("hello")
        folder = sandbox.functions["hello"].code.path.parent
        idle = socket.create_connection(("127.0.0.1", port_of(sandbox)), timeout=10)
        half = socket.create_connection(("127.0.0.1", port_of(sandbox)), timeout=10)
        half.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n123")
        port = port_of(sandbox)
        sandbox.close()
    assert set(threading.enumerate()) <= before
    assert not folder.exists()
    idle.close()
    half.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    sandbox.close()


def test_the_sandbox_writes_no_log(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = Client(sandbox)
    with client.session:
        client.import_("hello")
        client.call("POST", "/functions/import", json=import_fields("hello"))
    records = [
        record
        for record in caplog.records
        if record.name.startswith(("relay", "werkzeug", "flask"))
    ]
    assert records == []


def test_on_call_is_called_at_the_end_of_each_call() -> None:
    calls: list[tuple[str, int | None]] = []
    with SandboxServer(on_call=lambda call: calls.append((call.operation, call.status))) as sandbox:
        client = Client(sandbox)
        with client.session:
            client.import_("hello")
            client.import_("hello")
    assert calls == [("import", 200), ("import", 409)]
