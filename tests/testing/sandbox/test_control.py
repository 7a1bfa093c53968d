"""The control door, for tests and demos in other processes."""

from typing import Any

import pytest
import requests

from relay.testing.sandbox.functiongraph import SandboxServer

from .conftest import Client


def control(sandbox: SandboxServer, method: str, name: str, **more: Any) -> requests.Response:
    return requests.request(method, f"{sandbox.url}/sandbox/{name}", timeout=10, **more)


def test_faults_are_ordered_shown_and_forgotten(sandbox: SandboxServer, client: Client) -> None:
    made = control(sandbox, "POST", "faults", json={"operation": "list", "status": 500, "times": 2})
    assert made.status_code == 201
    control(sandbox, "POST", "faults", json={"spec": "import:status=429"})
    assert client.call("GET", "/functions").status_code == 500
    waiting = control(sandbox, "GET", "faults").json()
    assert [(one["operation"], one["times"]) for one in waiting] == [("list", 1), ("import", 1)]
    assert control(sandbox, "DELETE", "faults").json() == {"forgotten": 2}
    assert client.call("GET", "/functions").status_code == 200


@pytest.mark.parametrize("wrong", [{"status": 1}, {"spec": "x"}, [], {"spec": 1}, {"a": 1}])
def test_a_wrong_fault_is_a_bad_request(sandbox: SandboxServer, wrong: Any) -> None:
    response = control(sandbox, "POST", "faults", json=wrong)
    assert response.status_code == 400
    assert response.json()["error"]
    assert sandbox.faults.waiting() == []


def test_a_page_in_a_browser_cannot_order_faults(sandbox: SandboxServer) -> None:
    response = control(sandbox, "POST", "faults", data='{"status": 500}')
    assert response.status_code == 415
    assert sandbox.faults.waiting() == []


def test_functions_and_calls_are_shown(sandbox: SandboxServer, client: Client) -> None:
    client.import_("hello")
    functions = control(sandbox, "GET", "functions").json()
    assert functions["hello"]["digest"] == sandbox.functions["hello"].digest
    [call] = control(sandbox, "GET", "calls").json()
    assert (call["operation"], call["status"], call["applied"]) == ("import", 200, True)
    assert call["time"] == sandbox.calls[0].time.isoformat()


def test_looking_is_no_call(sandbox: SandboxServer) -> None:
    control(sandbox, "GET", "calls")
    assert sandbox.calls == []
