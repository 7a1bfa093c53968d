"""Fixtures: a running sandbox, a small client for it, and handmade export packages."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import yaml

from relay.model import utc_now
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.gateway import SignedRequest, sign

PROPERTIES: dict[str, Any] = {
    "Handler": "index.handler",
    "Runtime": "Python3.9",
    "CodeType": "zip",
    "CodeFileName": "index.zip",
    "DependencyPkg": "",
    "Description": "says hello",
    "MemorySize": 128,
    "Timeout": 3,
    "Version": "latest",
    "Environment": {"Variables": {"GREETING": "hello"}},
}


def zipped(files: dict[str, bytes | str]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without the current time
    return memory.getvalue()


CODE = zipped({"index.py": "def handler(event, context):\n    return 'hello'\n"})


def template(function: str = "hello", **changes: Any) -> str:
    resource = {"Type": "HC::Serverless::Function", "Properties": PROPERTIES | changes}
    return yaml.safe_dump({"HcCrmTemplateVersion": "v1", "Resources": {function: resource}})


def export(function: str = "hello", code: bytes = CODE, **changes: Any) -> bytes:
    return zipped({"index.zip": code, f"{function}.yaml": template(function, **changes)})


def import_fields(function: str = "hello", archive: bytes | None = None, **more: Any) -> Any:
    archive = export(function) if archive is None else archive
    return {
        "func_name": function,
        "file_name": f"{function}.zip",
        "file_type": "zip",
        "file_code": base64.b64encode(archive).decode(),
        **more,
    }


def signed_headers(
    sandbox: SandboxServer, method: str, target: str, body_hash: str, **more: str
) -> dict[str, str]:
    """Return the headers of a request signed with the key of the sandbox."""
    host = sandbox.url.removeprefix("http://")
    headers = {"host": host, "x-sdk-date": f"{utc_now():%Y%m%dT%H%M%SZ}"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    names = sorted(headers)
    signature = sign(sandbox.secret_key, SignedRequest(method, target, headers), names, body_hash)
    return headers | {
        "Authorization": f"SDK-HMAC-SHA256 Access={sandbox.access_key}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    }


class Client:
    """Calls a sandbox with a token on a persistent connection."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()
        self.token = sandbox.issue_token()
        self.base = f"{sandbox.url}/v2/{sandbox.project_id}/fgs"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"X-Auth-Token": self.token} | more.pop("headers", {})
        return self.session.request(method, self.base + path, headers=headers, timeout=20, **more)

    def import_(self, function: str = "hello", archive: bytes | None = None, **more: Any) -> Any:
        fields = import_fields(function, archive, **more)
        return self.call("POST", "/functions/import", json=fields)

    def on(self, function: str, method: str, rest: str = "", **more: Any) -> requests.Response:
        """Call an endpoint of a function, with the URN escaped like in the official SDK."""
        urn = f"urn:fss:{self.sandbox.region}:{self.sandbox.project_id}:function:{function}"
        return self.call(method, f"/functions/{urn.replace(':', '%3A')}{rest}", **more)


def code_of(response: requests.Response) -> tuple[int, str]:
    return response.status_code, json.loads(response.content)["error_code"]


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any]], None]:
    """Wait for a condition that another thread or process causes; fail after ten seconds."""

    def wait(condition: Callable[[], Any]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "the condition did not become true"
            time.sleep(0.01)

    return wait


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[Client]:
    client = Client(sandbox)
    with client.session:
        yield client
