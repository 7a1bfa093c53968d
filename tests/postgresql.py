"""A real PostgreSQL server for tests, in a temporary folder, separate for each test process.

Tests are skipped if the server is not installed; in CI they fail.
"""

from __future__ import annotations

import glob
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

MIN_FREE = 4 << 30
"""Free bytes of memory for the servers of all test processes; each takes about 200 MiB."""

MISSING = "The PostgreSQL server is not installed (Debian: apt-get install postgresql)"


def bindir() -> Path | None:
    """Return the folder of `initdb` and `postgres`, of the newest version."""
    installed = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=_version)  # noqa: PTH207
    path = shutil.which("postgres") or (installed[-1] if installed else None)
    return Path(path).parent if path else None


def _version(path: str) -> int:
    digits = path.split("/")[4]
    return int(digits) if digits.isdecimal() else 0


class Server:
    """A server with separate files and a separate socket, which can be stopped and restarted."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user and not _is_user(self._user):
            self._user = "nobody"
        if self._user:
            shutil.chown(folder, self._user)
        arguments = [
            "-D",
            folder / "files",
            "-U",
            "relay",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        self._run("initdb", *arguments, "--locale=C")

    def start(self, **settings: str) -> None:
        """Start the server and wait until it accepts connections."""
        chosen = {"fsync": "off", "max_connections": "300", "shared_buffers": "64MB", **settings}
        options = [f"--{name}={value}" for name, value in chosen.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.programs / "postgres",
                    *("-D", self.folder / "files", "-k", self.folder, "-h", "127.0.0.1", "-p"),
                    str(self.port),
                    *options,
                ],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
                start_new_session=True,
            )
        end = time.monotonic() + 30
        while True:
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres")).close()
                return
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT closes all connections cleanly, SIGQUIT simulates a crash."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)
        self._process = None

    def url(self, database: str) -> str:
        return f"postgresql://relay@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """Create a database and return the URL."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[arg-type]
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.rpartition("/")[2]
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type]

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(
            command, check=False, capture_output=True, user=self._user, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr.decode()


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _base_folder() -> Path:
    """Return a folder in memory if there is enough space.

    Each database has hundreds of files, which ext4 creates slowly after many deletions.
    """
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MIN_FREE:
        return memory
    return Path(tempfile.gettempdir())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The running server of this test process."""
    programs = bindir()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = _base_folder() / f"relay-pg-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    server = Server(programs, folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
