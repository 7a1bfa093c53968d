"""`relay sandbox` as a separate process: output, signals and memory."""

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from relay.cli.sandbox import command

from .conftest import template

CHUNK = 3 << 16
START = [sys.executable, "-c", "from relay.cli.sandbox import command; command()"]


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    arguments = ["--port", "0", "--json", *getattr(request, "param", [])]
    with subprocess.Popen([*START, *arguments], stdout=subprocess.PIPE, text=True) as started:
        yield started
        started.terminate()


def introduction(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def token(settings: Any) -> str:
    user = {
        "name": settings["iam_user"],
        "password": settings["iam_password"],
        "domain": {"name": settings["iam_domain"]},
    }
    identity = {"methods": ["password"], "password": {"user": user}}
    scope = {"project": {"name": settings["region"]}}
    url = f"{settings['iam_endpoint']}/v3/auth/tokens"
    response = requests.post(url, json={"auth": {"identity": identity, "scope": scope}}, timeout=10)
    return response.headers["X-Subject-Token"]


def functions_url(settings: Any) -> str:
    return f"{settings['endpoint']}/v2/{settings['project_id']}/fgs/functions"


def test_the_printed_credentials_work_and_calls_are_printed(process: subprocess.Popen[str]) -> None:
    settings = introduction(process)
    headers = {"X-Auth-Token": token(settings)}
    assert requests.get(functions_url(settings), headers=headers, timeout=10).status_code == 200
    assert process.stdout is not None
    calls = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [(call["operation"], call["status"]) for call in calls] == [
        ("token", 201),
        ("list", 200),
    ]


@pytest.mark.parametrize(
    "process", [["--fault", "list:status=503,times=always", "--project-id", "p1"]], indirect=True
)
def test_faults_and_project_come_from_the_command_line(process: subprocess.Popen[str]) -> None:
    settings = introduction(process)
    assert settings["project_id"] == "p1"
    headers = {"X-Auth-Token": token(settings)}
    assert requests.get(functions_url(settings), headers=headers, timeout=10).status_code == 503


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_process_cleanly(process: subprocess.Popen[str], number: int) -> None:
    introduction(process)
    process.send_signal(number)
    assert process.wait(10) == 0


def test_a_wrong_fault_is_a_usage_error() -> None:
    result = CliRunner().invoke(command, ["--fault", "imports:status=500"])
    assert result.exit_code == 2
    assert "operation 'imports' is unknown" in result.output


def test_an_invalid_port_is_a_usage_error() -> None:
    result = CliRunner().invoke(command, ["--port", "99999"])
    assert result.exit_code == 2
    assert "Invalid value for '--port'" in result.output


def test_a_port_in_use_has_a_readable_error(process: subprocess.Popen[str]) -> None:
    port = introduction(process)["endpoint"].rsplit(":", 1)[-1]
    result = CliRunner().invoke(command, ["--port", port])
    assert result.exit_code == 1
    assert "cannot listen: Address already in use" in result.output


def peak_memory(process: subprocess.Popen[str]) -> int:
    """Return VmHWM in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def write_export(path: Path, size: int) -> None:
    block = os.urandom(1 << 20)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("big.yaml", template("big", CodeFileName="big.bin"))
        with archive.open(zipfile.ZipInfo("big.bin"), "w", force_zip64=True) as file:
            for _ in range(size >> 20):
                file.write(block)


def import_body(path: Path) -> Iterator[bytes]:
    yield b'{"file_type": "zip", "file_name": "big.zip", "file_code": "'
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield base64.b64encode(chunk)
    yield b'", "func_name": "big"}'


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_hundred_megabytes_are_imported_in_constant_memory(
    process: subprocess.Popen[str], tmp_path: Path
) -> None:
    settings = introduction(process)
    headers = {"X-Auth-Token": token(settings)}
    requests.get(functions_url(settings), headers=headers, timeout=10)
    write_export(tmp_path / "big.zip", 100 << 20)
    length = sum(len(piece) for piece in import_body(tmp_path / "big.zip"))
    before = peak_memory(process)
    connection = http.client.HTTPConnection(
        settings["endpoint"].removeprefix("http://"), timeout=60
    )
    connection.request(
        "POST",
        functions_url(settings).removeprefix(settings["endpoint"]) + "/import",
        import_body(tmp_path / "big.zip"),
        {**headers, "Content-Length": str(length)},
    )
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["code_size"] == 100 << 20
    assert peak_memory(process) - before < 16 << 20
