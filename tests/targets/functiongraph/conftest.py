"""Fixtures: a running sandbox, targets configured for it, and a server with fixed responses."""

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
    """A clock that tests set and advance."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _no_discovered_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
def make_target(clock: Clock) -> Iterator[MakeTarget]:
    """Create targets that are closed after the test."""
    targets = []

    def make_target(url: str, *, read_timeout: float = 10, **settings: Any) -> Target:
        endpoints = {"endpoint": url, "iam_endpoint": url, "metadata_endpoint": url}
        values = {"region": "cn-north-4", "project_id": PROJECT, **endpoints, **settings}
        parsed = Target.Settings(kind="functiongraph", **values)
        outbound = HttpClientFactory(connect_timeout=5, read_timeout=read_timeout)
        target = Target("prod", parsed, outbound, clock=clock)
        targets.append(target)
        return target

    yield make_target
    for target in targets:
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
class FakeServer:
    """A server that gives the same response to every request and records the requests."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = make_server(
            "127.0.0.1", 0, self._respond, threaded=True, request_handler=_SilentHandler
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _respond(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        request.get_data()
        self.requests.append(request)
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return Response(text, self.status, self.headers)(environ, start_response)


class _SilentHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()
