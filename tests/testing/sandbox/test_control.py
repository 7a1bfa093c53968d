"""The control API for tests and demos in other processes."""

from typing import Any

import pytest
import requests

from relay.testing.sandbox.functiongraph import SandboxServer

from .conftest import Client


def control(sandbox: SandboxServer, method: str, name: str, **more: Any) -> requests.Response:
    return requests.request(method, f"{sandbox.url}/sandbox/{name}", timeout=10, **more)


def test_faults_can_be_added_listed_and_removed(sandbox: SandboxServer, client: Client) -> None:
    added = control(
        sandbox, "POST", "faults", json={"operation": "list", "status": 500, "times": 2}
    )
    assert added.status_code == 201
    control(sandbox, "POST", "faults", json={"spec": "import:status=429"})
    assert client.call("GET", "/functions").status_code == 500
    pending = control(sandbox, "GET", "faults").json()
    assert [(fault["operation"], fault["times"]) for fault in pending] == [
        ("list", 1),
        ("import", 1),
    ]
    assert control(sandbox, "DELETE", "faults").json() == {"forgotten": 2}
    assert client.call("GET", "/functions").status_code == 200


@pytest.mark.parametrize("wrong", [{"status": 1}, {"spec": "x"}, [], {"spec": 1}, {"a": 1}])
def test_a_wrong_fault_is_a_bad_request(sandbox: SandboxServer, wrong: Any) -> None:
    response = control(sandbox, "POST", "faults", json=wrong)
    assert response.status_code == 400
    assert response.json()["error"]
    assert sandbox.faults.pending() == []


def test_a_web_page_cannot_add_faults(sandbox: SandboxServer) -> None:
    response = control(sandbox, "POST", "faults", data='{"status": 500}')
    assert response.status_code == 415
    assert sandbox.faults.pending() == []


def test_functions_and_calls_are_shown(sandbox: SandboxServer, client: Client) -> None:
    client.import_("hello")
    functions = control(sandbox, "GET", "functions").json()
    assert functions["hello"]["digest"] == sandbox.functions["hello"].digest
    [call] = control(sandbox, "GET", "calls").json()
    assert (call["operation"], call["status"], call["applied"]) == ("import", 200, True)
    assert call["time"] == sandbox.calls[0].time.isoformat()


def test_control_requests_are_not_recorded_as_calls(sandbox: SandboxServer) -> None:
    control(sandbox, "GET", "calls")
    assert sandbox.calls == []
