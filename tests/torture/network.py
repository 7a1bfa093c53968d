"""Workers on separate networks: network namespaces with links that can be cut.

Where the kernel refuses namespaces, the worker reaches PostgreSQL through a proxy that can stop
forwarding bytes. This looks the same to the worker; the table of results shows which was used.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import threading
from contextlib import suppress
from typing import Self

FIRST = "10.231"


class TcpProxy:
    """Forwards TCP connections to a loopback port until forwarding is paused."""

    def __init__(self, host: str, port: int) -> None:
        self._server = socket.create_server((host, 0))
        self._target = port
        self.forwarding = threading.Event()
        self.forwarding.set()
        self._open: list[socket.socket] = []
        self._closed = False
        self.address = "{}:{}".format(*self._server.getsockname())
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        self.forwarding.set()
        for connection in [self._server, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._server.accept()
                upstream = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                continue
            self._open += [client, upstream]
            for source, target in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        end = socket.SHUT_RDWR  # after a reset
        with suppress(OSError):
            while part := source.recv(1 << 16):
                self.forwarding.wait()
                target.sendall(part)
            end = socket.SHUT_WR
        with suppress(OSError):
            target.shutdown(end)


class NetworkHost:
    """A network namespace with two links: to the ledger, and to everything else.

    Without namespaces, `netns` is None and `refused` has the reason.
    """

    def __init__(self, ledger_port: int) -> None:
        name = f"torture{secrets.token_hex(3)}"
        self.refused = _refused(name)
        self.netns: str | None = None if self.refused else name
        self._ledger_port = ledger_port
        self._proxies: dict[int, TcpProxy] = {}
        self._links: list[str] = []
        self._hosts = ["127.0.0.1", "127.0.0.1"]

    def __enter__(self) -> Self:
        if self.netns:
            for number in (0, 1):
                self._hosts[number] = self._add_link(number, _free_block())
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies.values():
            proxy.close()
        if self.netns:
            _run("ip", "netns", "del", self.netns)

    def rewrite(self, text: str) -> str:
        """Replace loopback addresses in a configuration by addresses reachable from inside."""
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda match: self._address(int(match[1])), text)

    def cut(self) -> None:
        """Drop all packets to the ledger, without a reset of the connections."""
        if self.netns:
            _run("ip", "link", "set", self._links[0], "down")
        else:
            self._proxies[self._ledger_port].forwarding.clear()

    def restore(self) -> None:
        if self.netns:
            _run("ip", "link", "set", self._links[0], "up")
        else:
            self._proxies[self._ledger_port].forwarding.set()

    def _address(self, port: int) -> str:
        host = self._hosts[0 if port == self._ledger_port else 1]
        if port not in self._proxies:
            self._proxies[port] = TcpProxy(host, port)
        return self._proxies[port].address

    def _add_link(self, number: int, block: str) -> str:
        assert self.netns
        outer, inner = f"{self.netns[7:]}o{number}", f"{self.netns[7:]}i{number}"
        _run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", self.netns)
        _run("ip", "addr", "add", f"{block}.1/24", "dev", outer)
        _run("ip", "link", "set", outer, "up")
        inside = ("ip", "netns", "exec", self.netns, "ip")
        _run(*inside, "addr", "add", f"{block}.2/24", "dev", inner)
        _run(*inside, "link", "set", inner, "up")
        _run(*inside, "link", "set", "lo", "up")
        self._links.append(outer)
        return f"{block}.1"


def _free_block() -> str:
    """Return an address block that no interface uses. A killed run leaves interfaces behind."""
    taken = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, check=True, text=True)
    blocks = [block for block in range(1, 255) if f" {FIRST}.{block}." not in taken.stdout]
    return f"{FIRST}.{secrets.choice(blocks)}"


def _refused(name: str) -> str:
    """Create the namespace. Return the reason for a failure, or an empty string."""
    if os.geteuid() != 0:
        return "not root"
    command = ["ip", "netns", "add", name]
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
    except OSError:
        return "no ip command"
    return done.stderr.strip() if done.returncode else ""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
