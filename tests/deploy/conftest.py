"""Fixtures: the parsed files of deploy/, free ports, and processes."""

import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="session")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="session")
def examples():
    """The variables of .env.example."""
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="session")
def dockerfile():
    """The instructions of the last stage as (name, arguments)."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    instructions = []
    for line in lines[last:]:
        name, _, text = line.partition(" ")
        exec_form = re.search(r"\[.*\]$", text)
        instructions.append((name, json.loads(exec_form[0]) if exec_form else text.split()))
    return instructions


@pytest.fixture
def free_ports():
    """Two free loopback ports."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def start():
    """start(arguments, **options of Popen) -> a process; it must exit with 0 after SIGTERM."""
    running = []

    def start_process(arguments, **options):
        process = subprocess.Popen(arguments, **options)
        running.append(process)
        return process

    yield start_process
    for process in running:
        process.terminate()
    for process in running:
        assert process.wait(30) == 0, f"{process.args} did not exit with 0"
