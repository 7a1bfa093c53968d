"""`relay serve` before gunicorn starts: errors are a line on stderr, not a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relay.cli import serve

from .conftest import Run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines passed to gunicorn, which does not run."""
    lines: list[list[str]] = []
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(serve.WSGIApplication, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(serve.WSGIApplication, "run", lambda _: lines.append(sys.argv))
    return lines


def test_a_database_folder_that_cannot_be_created_ends_serve_with_78(
    run: Run, folder: Path, started: list[list[str]]
) -> None:
    (folder / "taken").write_text("no directory")
    result = run("serve", RELAY_DATABASE__URL="sqlite:///taken/relay.db")
    assert result.exit_code == 78
    assert result.stderr.startswith("error database.url: The directory ")
    assert result.stderr.count("\n") == 1
    assert not started


def test_an_unusable_database_ends_serve_and_work_in_the_same_way(
    run: Run, folder: Path, started: list[list[str]]
) -> None:
    (folder / "relay.db").mkdir()
    environ = {"RELAY_DATABASE__URL": "sqlite:///relay.db"}
    served, worked = run("serve", **environ), run("work", **environ)
    assert served.exit_code == worked.exit_code == 1
    assert served.stderr == worked.stderr
    assert served.stderr.count("\n") == 1
    assert not started


@pytest.mark.parametrize("port", ["abc", "99999", "-1"])
def test_an_invalid_port_is_a_usage_error(run: Run, started: list[list[str]], port: str) -> None:
    for result in (run("serve", PORT=port), run("serve", "--port", port)):
        assert result.exit_code == 2
        assert "Invalid value for '--port'" in result.stderr
    assert not started


@pytest.mark.parametrize("processes", ["abc", "0", "-1", "1.5"])
def test_an_invalid_number_of_processes_is_a_usage_error(
    run: Run, started: list[list[str]], processes: str
) -> None:
    for result in (run("serve", WEB_CONCURRENCY=processes), run("serve", "--processes", processes)):
        assert result.exit_code == 2
        assert "Invalid value for '--processes'" in result.stderr
    assert not started


@pytest.mark.parametrize(("variable", "expected"), [("", "1"), ("3", "3")])
def test_the_number_of_processes_comes_from_the_environment(
    run: Run, started: list[list[str]], variable: str, expected: str
) -> None:
    assert run("serve", WEB_CONCURRENCY=variable).exit_code == 0
    line = started[0]
    assert line[line.index("--workers") + 1] == expected


@pytest.mark.parametrize(
    ("arguments", "port", "bound"),
    [((), "", "8080"), ((), "1234", "1234"), (("--port", "0"), "1234", "0")],
)
def test_the_port_comes_from_the_option_then_from_the_environment(
    run: Run, started: list[list[str]], arguments: tuple[str, ...], port: str, bound: str
) -> None:
    assert run("serve", *arguments, PORT=port).exit_code == 0
    assert started[0][-1] == f"127.0.0.1:{bound}"
