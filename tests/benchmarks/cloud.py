"""A minimal FunctionGraph server: it must be cheap, because it shares the cores.

    python cloud.py ARCHIVE    prints the port and runs until it is killed

Every import is treated as an import of ARCHIVE: it succeeds if the body has at least the base64
length of ARCHIVE, a second import of a name gets 409, and queries return the code of ARCHIVE. `GET
/imports?after=N` returns [name, start time of the call] of all imports but the first N.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import methods
from servers import TOKEN, Connection

WITHIN = 120.0
"""Seconds to wait for imports."""

_URN = f"urn:fss:cn-north-4:{methods.PROJECT}:function:default:{{}}:latest"
_NAME = re.compile(rb'"func_name": ?"([^"]+)"')
_JSON = ["Content-Type: application/json", "X-Request-Id: r"]


class Tenant:
    """The imported functions; thread-safe."""

    def __init__(self, archive):
        with zipfile.ZipFile(archive) as content:
            (name,) = (entry for entry in content.namelist() if not entry.endswith(".yaml"))
            code = content.read(name)
        self.encoded_size = (Path(archive).stat().st_size + 2) // 3 * 4
        self._code = {"digest": hashlib.sha512(code).hexdigest(), "code_size": len(code)}
        self._lock = threading.Lock()
        self._imports = {}

    def add(self, name, started):
        """Add a function; return False if it already exists."""
        with self._lock:
            return self._imports.setdefault(name, started) is started

    def after(self, number):
        with self._lock:
            return list(self._imports.items())[number:]

    def find(self, name):
        """Return a function as JSON, or None."""
        if name not in self._imports:
            return None
        return {
            "func_urn": _URN.format(name),
            "func_name": name,
            "package": "default",
            "runtime": "Python3.10",
            **self._code,
        }


def serve(tenant, connection):
    while request := connection.head():
        method, path, headers = request
        length, started = int(headers.get("content-length", 0)), time.time()
        start = connection.body(length)
        if path.startswith("/imports"):
            imports = tenant.after(int(path.partition("after=")[2]))
            connection.respond(200, _JSON, json.dumps(imports).encode())
        elif path.startswith("/v3/auth/tokens"):
            connection.respond(201, ["X-Subject-Token: t"], json.dumps(TOKEN).encode())
        elif method == "POST":
            connection.respond(*_import(tenant, start, length, started))
        elif path.endswith("/config"):
            found = tenant.find(path.rpartition("%3Alatest")[0].rpartition("%3A")[2])
            connection.respond(*((200, _JSON, json.dumps(found).encode()) if found else _NONE))
        else:
            connection.respond(200, _JSON, b'{"functions": [], "next_marker": "0"}')


_NONE = 404, _JSON, b'{"error_code": "FSS.1051", "error_msg": "none"}'


def _import(tenant, start, length, started):
    name = _NAME.search(start)[1].decode()
    if length < tenant.encoded_size:
        return 400, _JSON, b'{"error_code": "FSS.1011", "error_msg": "not whole"}'
    if not tenant.add(name, started):
        return 409, _JSON, b'{"error_code": "FSS.1061", "error_msg": "taken"}'
    return 200, _JSON, json.dumps(tenant.find(name)).encode()


class Cloud:
    """A client of the server process."""

    def __init__(self, port):
        url = f"http://127.0.0.1:{port}"
        self.settings = {"endpoint": url, "iam_endpoint": url}
        self.address = f"{url}/v2/{methods.PROJECT}/fgs/functions/import"
        self._imports_url = f"{url}/imports?after="
        self._imports = []

    def imports(self):
        """Return [name, start time of the call] of each import."""
        with urllib.request.urlopen(f"{self._imports_url}{len(self._imports)}") as response:
            self._imports += json.load(response)
        return self._imports

    def wait_for(self, names):
        """Return the imports once all names have arrived, or after a time without progress."""
        end, progress, count = time.monotonic() + WITHIN, time.monotonic(), -1
        while time.monotonic() < end:
            done = self.imports()
            if names <= {name for name, _ in done}:
                break
            if len(done) > count:
                count, progress = len(done), time.monotonic()
            if time.monotonic() - progress > 45:  # longer than a lease and a backoff
                break
            time.sleep(0.2)
        return done


@contextmanager
def running(archive):
    command = [sys.executable, __file__, str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Cloud(int(process.stdout.readline()))
        finally:
            process.kill()


def main(archive):
    tenant = Tenant(archive)

    def serve_one(sock):
        with sock:
            try:
                serve(tenant, Connection(sock))
            except ConnectionError:
                return

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        partial(print, flush=True)(listening.getsockname()[1])
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
