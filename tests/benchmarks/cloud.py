"""FunctionGraph as cheap as it can be: what is measured shares its cores with it.

    python cloud.py ARCHIVE    prints its port, and runs until it is killed

Every archive it is sent is taken for ARCHIVE: a name is held once it came with as many bytes as
ARCHIVE has in base64, a second time it is 409, and who asks is told of ARCHIVE's code. `GET
/imports?after=N` answers [name, when the call began] of all but the first N that it holds.
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

import ways
from servers import TOKEN, Connection

WITHIN = 120.0
"""Seconds after which what has not come does not come."""

_URN = "urn:fss:cn-north-4:0:function:default:{}:latest"
_NAME = re.compile(rb'"func_name": ?"([^"]+)"')
_JSON = ["Content-Type: application/json", "X-Request-Id: r"]


class Tenant:
    """What was imported, for many threads."""

    def __init__(self, archive):
        with zipfile.ZipFile(archive) as opened:
            (name,) = (one for one in opened.namelist() if not one.endswith(".yaml"))
            code = opened.read(name)
        self.coded = (Path(archive).stat().st_size + 2) // 3 * 4
        self._code = {"digest": hashlib.sha512(code).hexdigest(), "code_size": len(code)}
        self._lock = threading.Lock()
        self._made = {}

    def add(self, name, began):
        """Whether it was not there."""
        with self._lock:
            return self._made.setdefault(name, began) is began

    def after(self, number):
        with self._lock:
            return list(self._made.items())[number:]

    def shown(self, name):
        """The answer about a function; None: there is none."""
        if name not in self._made:
            return None
        return {
            "func_urn": _URN.format(name),
            "func_name": name,
            "package": "default",
            **self._code,
        }


def serve(tenant, connection):
    while asked := connection.head():
        method, path, headers = asked
        length, began = int(headers.get("content-length", 0)), time.time()
        start = connection.body(length)
        if path.startswith("/imports"):
            told = tenant.after(int(path.partition("after=")[2]))
            connection.answer(200, _JSON, json.dumps(told).encode())
        elif path.startswith("/v3/auth/tokens"):
            connection.answer(201, ["X-Subject-Token: t"], json.dumps(TOKEN).encode())
        elif method == "POST":
            connection.answer(*_imported(tenant, start, length, began))
        elif path.endswith("/config"):
            found = tenant.shown(path.rpartition("%3Alatest")[0].rpartition("%3A")[2])
            connection.answer(*((200, _JSON, json.dumps(found).encode()) if found else _NONE))
        else:
            connection.answer(200, _JSON, b'{"functions": [], "next_marker": "0"}')


_NONE = 404, _JSON, b'{"error_code": "FSS.1051", "error_msg": "none"}'


def _imported(tenant, start, length, began):
    name = _NAME.search(start)[1].decode()
    if length < tenant.coded:
        return 400, _JSON, b'{"error_code": "FSS.1011", "error_msg": "not whole"}'
    if not tenant.add(name, began):
        return 409, _JSON, b'{"error_code": "FSS.1061", "error_msg": "taken"}'
    return 200, _JSON, json.dumps(tenant.shown(name)).encode()


class Cloud:
    """One in a process of its own, as seen from outside."""

    def __init__(self, port):
        url = f"http://127.0.0.1:{port}"
        self.settings = {"endpoint": url, "iam_endpoint": url}
        self.address = f"{url}/v2/{ways.PROJECT}/fgs/functions/import"
        self._asked = f"{url}/imports?after="
        self._seen = []

    def imports(self):
        """[name, when its call began in seconds], of each that happened."""
        with urllib.request.urlopen(f"{self._asked}{len(self._seen)}") as answer:
            self._seen += json.load(answer)
        return self._seen

    def wait_for(self, names):
        """The same, once all these are there, or nothing more comes."""
        end, quiet, seen = time.monotonic() + WITHIN, time.monotonic(), -1
        while time.monotonic() < end:
            done = self.imports()
            if names <= {name for name, _ in done}:
                break
            if len(done) > seen:
                seen, quiet = len(done), time.monotonic()
            if time.monotonic() - quiet > 45:  # a lease and a backoff have passed
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
