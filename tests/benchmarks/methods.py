"""Methods to import an archive, each measured in a separate process.

    python methods.py METHOD FILE WARM PORTS   prints {"wall", "cpu", "memory", "disk"} as JSON

WARM is a small archive that is imported first, so that the memory of a warm process is the
baseline. PORTS is JSON: "sink", "drain" and "store" (see servers.py). Units are seconds and bytes;
`memory` is the growth of the peak resident set, `disk` the bytes written.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import re
import socket
import sys
import time
from pathlib import Path

from relay.testing.change_recorder import ChangeRecorder

BLOCK = 192 * 1024
PROJECT = "0" * 32


def copy_file(ports, _):
    """The limit for a file: read and send the same number of bytes without checks."""

    def copy(path):
        buffer = bytearray(BLOCK)
        with path.open("rb", buffering=0) as file, _connect(ports["drain"]) as out:
            while count := file.readinto(buffer):
                _send(out, buffer, count)
            _wait_until_read(out)

    return copy


def copy_store(ports, _):
    """The limit for an object: receive and send the same number of bytes without checks."""

    def copy(path):
        buffer = bytearray(BLOCK)
        left = path.stat().st_size
        with _connect(ports["store"]) as source, _connect(ports["drain"]) as out:
            source.sendall(f"GET /exports/{path.name} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
            while b"\r\n\r\n" not in (head := source.recv(4096, socket.MSG_PEEK)):
                pass
            source.recv(head.index(b"\r\n\r\n") + 4)
            while left:
                count = source.recv_into(buffer, min(left, BLOCK))
                _send(out, buffer, count)
                left -= count
            _wait_until_read(out)

    return copy


def _connect(port):
    return socket.create_connection(("127.0.0.1", port))


def _send(out, buffer, count):
    # Send four bytes for three, as base64 does.
    out.sendall(memoryview(buffer)[:count])
    out.sendall(memoryview(buffer)[: count // 3])


def _wait_until_read(out):
    out.shutdown(socket.SHUT_WR)
    assert out.recv(1)


def relay_file(ports, folder):
    """Relay, from a folder."""
    from relay.handlers.local.handler import FolderSettings, Handler
    from relay.model import ObjectRef

    settings = FolderSettings(kind="local", folder=folder, token="t")
    return _relay(Handler("folder", settings), lambda path: ObjectRef("folder", path.name), ports)


def relay_store(ports, _):
    """Relay, from an S3 server."""
    return _relay(s3(ports["store"]), in_s3, ports)


def digested(ports, _):
    """Relay, from an S3 server, with the SHA-512 of the code at any size."""
    return _relay(s3(ports["store"]), in_s3, ports, digest_up_to=2**40)


def s3(port):
    """Return the S3 handler for the server at the port."""
    from relay.handlers.s3 import Handler

    settings = Handler.Settings(
        kind="s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id="a",
        secret_access_key="s",
        addressing_style="path",
        token="t",
    )
    return Handler("exports", settings)


def in_s3(path):
    """Return the object of this file in the store."""
    from relay.model import ObjectRef

    return ObjectRef("exports", path.name)


def _relay(source, ref_of, ports, digest_up_to=None):
    from relay.delivery.import_steps import open_archive, refuse_errors
    from relay.outbound.session import HttpClientFactory
    from relay.targets.contract import FunctionName
    from relay.targets.functiongraph.target import Target

    url = f"http://127.0.0.1:{ports['sink']}"
    user = {"iam_user": "u", "iam_password": "p", "iam_domain": "d", "iam_endpoint": url}
    settings = Target.Settings(
        kind="functiongraph", region="cn-north-4", project_id=PROJECT, endpoint=url, **user
    )
    target = Target("prod", settings, HttpClientFactory())
    order = FunctionName("hello", "default")

    def import_archive(path):
        archive = open_archive(source, ref_of(path), "require")
        refuse_errors(archive.report)
        target.check(order, archive.report)
        archive.digest_up_to = digest_up_to or archive.digest_up_to
        assert target.create(order, archive, ChangeRecorder(), lambda _: None).urn
        assert archive.known_digest is not None

    return import_archive


def naive(ports, _):
    """A simple script: read, encode, post."""
    import requests

    def post(path):
        body = {
            "func_name": "hello",
            "file_name": "hello.zip",
            "file_type": "zip",
            "file_code": base64.b64encode(path.read_bytes()).decode(),
        }
        url = f"http://127.0.0.1:{ports['sink']}/v2/{PROJECT}/fgs/functions/import"
        requests.post(url, json=body, headers={"X-Auth-Token": "t"}, timeout=600).raise_for_status()

    return post


def sdk(ports, _):
    """The Python SDK of Huawei Cloud."""
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkfunctiongraph.v2 import (
        FunctionGraphClient,
        ImportFunctionRequest,
        ImportFunctionRequestBody,
    )

    client = (
        FunctionGraphClient.new_builder()
        .with_credentials(BasicCredentials("ak", "sk", PROJECT))
        .with_endpoint(f"http://127.0.0.1:{ports['sink']}")
        .build()
    )

    def call(path):
        body = ImportFunctionRequestBody(
            func_name="hello",
            file_name="hello.zip",
            file_type="zip",
            file_code=base64.b64encode(path.read_bytes()).decode(),
        )
        assert client.import_function(ImportFunctionRequest(body=body)).func_urn

    return call


ALL = (copy_file, relay_file, copy_store, digested, relay_store, naive, sdk)
METHODS = {method.__name__: method for method in ALL}


def measure(import_archive, path, warm):
    """Measure a run after two small ones."""
    for _ in range(2):
        import_archive(warm)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak resident set
    memory, disk = _proc_value("status", "VmRSS"), _proc_value("io", "write_bytes")
    cpu = time.process_time()
    started = time.perf_counter()
    import_archive(path)
    return {
        "wall": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "memory": (_proc_value("status", "VmHWM") - memory) * 1024,
        "disk": _proc_value("io", "write_bytes") - disk,
    }


def _proc_value(file, name):
    return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/self/{file}").read_text())[1])


if __name__ == "__main__":
    os.environ["no_proxy"] = "*"
    name, big, small, servers = sys.argv[1:]
    method = METHODS[name](json.loads(servers), Path(big).parent)
    sys.stdout.write(json.dumps(measure(method, Path(big), Path(small))))
