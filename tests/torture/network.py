"""Two workers that do not share a network: namespaces with a wire each that can be cut.

Where the kernel does not let us make namespaces, the worker reaches PostgreSQL through a proxy in
front of it that stops passing bytes on: the same to the worker, told apart in the table.
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


class Forward:
    """Passes TCP connections on to a port of loopback, until it is stopped; then it is a hole."""

    def __init__(self, host: str, port: int) -> None:
        self._server = socket.create_server((host, 0))
        self._target = port
        self.passing = threading.Event()
        self.passing.set()
        self._open: list[socket.socket] = []
        self._closed = False
        self.address = "{}:{}".format(*self._server.getsockname())
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        self.passing.set()
        for one in [self._server, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                came, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                continue
            self._open += [came, there]
            for source, target in ((came, there), (there, came)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 16):
                self.passing.wait()
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)


class Place:
    """A network namespace with two wires: one to the ledger, one to everything else.

    `netns` is None where there are no namespaces: `refused` says why. `rewritten(text)` has every
    loopback address in a configuration replaced by one that is reached from inside.
    """

    def __init__(self, ledger_port: int) -> None:
        name = f"torture{secrets.token_hex(3)}"
        self.refused = _refused(name)
        self.netns: str | None = None if self.refused else name
        self._ledger_port = ledger_port
        self._forwards: dict[int, Forward] = {}
        self._wires: list[str] = []
        self._hosts = ["127.0.0.1", "127.0.0.1"]

    def __enter__(self) -> Self:
        if self.netns:
            for number in (0, 1):
                self._hosts[number] = self._wire(number, _free_block())
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._forwards.values():
            one.close()
        if self.netns:
            _run("ip", "netns", "del", self.netns)

    def rewritten(self, text: str) -> str:
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: self._reach(int(found[1])), text)

    def cut(self) -> None:
        """From now on the ledger cannot be reached; nobody is told."""
        if self.netns:
            _run("ip", "link", "set", self._wires[0], "down")
        else:
            self._forwards[self._ledger_port].passing.clear()

    def mend(self) -> None:
        if self.netns:
            _run("ip", "link", "set", self._wires[0], "up")
        else:
            self._forwards[self._ledger_port].passing.set()

    def _reach(self, port: int) -> str:
        host = self._hosts[0 if port == self._ledger_port else 1]
        if port not in self._forwards:
            self._forwards[port] = Forward(host, port)
        return self._forwards[port].address

    def _wire(self, number: int, block: str) -> str:
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
        self._wires.append(outer)
        return f"{block}.1"


def _free_block() -> str:
    """A block of addresses that no interface has: with two of a kind answers go astray. A run that
    was killed leaves its own behind."""
    taken = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, check=True, text=True)
    blocks = [one for one in range(1, 255) if f" {FIRST}.{one}." not in taken.stdout]
    return f"{FIRST}.{secrets.choice(blocks)}"


def _refused(name: str) -> str:
    """Makes that namespace; why the kernel or the tools do not let us, or nothing."""
    if os.geteuid() != 0:
        return "not root"
    command = ["ip", "netns", "add", name]
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True)
    except OSError:
        return "no ip command"
    return done.stderr.strip() if done.returncode else ""


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
