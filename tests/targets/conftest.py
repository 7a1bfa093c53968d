"""A running sandbox, targets that lead to it, and a gateway that answers what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

from relay.outbound.session import HttpClientFactory
from relay.targets.functiongraph.target import Target
from relay.testing.sandbox.functiongraph import SandboxServer

pytest.register_assert_rewrite("relay.testing.target_suite")

PROJECT = "0123456789abcdef0123456789abcdef"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MakeTarget = Callable[..., Target]


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _no_credentials_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AK", "SK", "SECURITY_TOKEN", "PROJECT_ID", "CREDENTIALS_FILE"):
        monkeypatch.delenv(f"HUAWEICLOUD_SDK_{name}", raising=False)
        monkeypatch.delenv(f"CLOUD_SDK_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[SandboxServer]:
    with SandboxServer(project_id=PROJECT, clock=clock) as server:
        yield server


@pytest.fixture
def make(clock: Clock) -> Iterator[MakeTarget]:
    """make(url, **settings) -> a target; closed at the end."""
    made = []

    def make(url: str, *, read_timeout: float = 10, **settings: Any) -> Target:
        endpoints = {"endpoint": url, "iam_endpoint": url, "metadata_endpoint": url}
        given = {"region": "cn-north-4", "project_id": PROJECT, **endpoints, **settings}
        parsed = Target.Settings(kind="functiongraph", **given)
        outbound = HttpClientFactory(connect_timeout=5, read_timeout=read_timeout)
        target = Target("prod", parsed, outbound, clock=clock)
        made.append(target)
        return target

    yield make
    for target in made:
        target.close()


def by_key(sandbox: SandboxServer) -> dict[str, str]:
    return {"access_key": sandbox.access_key, "secret_key": sandbox.secret_key}


def by_token(sandbox: SandboxServer) -> dict[str, str]:
    return {
        "iam_user": sandbox.iam_user,
        "iam_password": sandbox.iam_password,
        "iam_domain": sandbox.iam_domain,
    }


@dataclass
class Scripted:
    """A server that gives the same answer to every call, and remembers the calls."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    calls: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        request.get_data()
        self.calls.append(request)
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return Response(text, self.status, self.headers)(environ, start_response)


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()
