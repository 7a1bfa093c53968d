"""Measured processes: started with a configuration, found by port, killed as a group."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import methods
from load import TOKEN

EXPORTS = {
    "kind": "s3",
    "region": "us-east-1",
    "access_key_id": "key",
    "secret_access_key": "secret",
    "addressing_style": "path",
    "token": TOKEN,
}
ROUTE = {"source": "exports", "key": "*.zip", "target": "prod"}


def write_settings(folder, store, target, *, route=ROUTE, database=None, workers=4):
    """Write relay.toml with a source, a target and a route. `target`: the endpoint settings."""
    known = {"kind": "functiongraph", "region": "cn-north-4", "project_id": methods.PROJECT}
    keys = {"access_key": "key", "secret_key": "secret"}
    source = {**EXPORTS, "endpoint_url": f"http://127.0.0.1:{store}"}
    tables = {
        "[database]": {"url": database or f"sqlite:///{folder}/relay.db"},
        "[delivery]": {"workers": workers},
        "[sources.exports]": source,
        "[targets.prod]": {**known, **keys, "concurrency": 2 * workers, **target},
        "[[routes]]": route,
    }
    lines = []
    for name, table in tables.items():
        lines += [name, *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    (folder / "relay.toml").write_text("\n".join(lines))


class Process:
    """A program in a new process group."""

    def __init__(self, folder, command, **environment):
        self._log = folder / "log"
        settings = {"RELAY_CONFIG": str(folder / "relay.toml"), "no_proxy": "*", **environment}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, command)),
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def log(self):
        return self._log.read_text(errors="replace")

    def wait_for(self, is_ready):
        end = time.monotonic() + 30
        while not is_ready():
            assert self._process.poll() is None, self.log[-2000:]
            assert time.monotonic() < end, self.log[-2000:]
            time.sleep(0.05)

    @property
    def cpu(self):
        """Seconds of processor time of the whole process group."""
        return sum(_cpu(stat, self._process.pid) for stat in Path("/proc").glob("[0-9]*/stat"))

    def kill(self):
        """Kill the process group, as when a container ends."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _cpu(stat, group):
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # the process has exited
    if int(fields[2]) != group:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(folder, command, is_ready=lambda: True, **environment):
    """Start a program, wait until it is ready, and kill it at the end."""
    process = Process(folder, command, **environment)
    try:
        process.wait_for(is_ready)
        yield process
    finally:
        process.kill()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def responds(port, path="/healthz"):
    """Return True if a worker responds. The socket is open earlier."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


def relay(*arguments):
    return [sys.executable, "-m", "relay", *arguments]


@contextmanager
def serving(folder, *options, **environment):
    """Start `relay serve`; yield the port and the process."""
    port = free_port()
    command = relay("serve", "--port", port, *options)
    with running(folder, command, lambda: responds(port), **environment) as process:
        yield port, process
