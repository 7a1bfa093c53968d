"""A server on a raw socket that runs a script for every connection."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A server that runs a script for every connection. `received`: the bytes of each request."""

    def __init__(
        self,
        script: Callable[[Server, socket.socket], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.script = script
        self.tls = tls
        self.received: list[bytearray] = []
        self.errors: list[OSError] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self.done = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with connection:
            try:
                wrapped = (
                    self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
                )
                with wrapped:
                    self.script(self, wrapped)
            except OSError as error:
                self.errors.append(error)

    def head(self, connection: socket.socket) -> bytearray:
        """Read up to the end of the headers; return the bytes received so far."""
        received = bytearray()
        self.received.append(received)
        while b"\r\n\r\n" not in received and (some := connection.recv(4096)):
            received += some
        return received

    def request(self, connection: socket.socket) -> None:
        """Read the headers and the body."""
        head, _, body = self.head(connection).partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
        left = int(length[1]) - len(body) if length else 0
        while left > 0 and (some := connection.recv(2**16)):
            left -= len(some)

    def close(self) -> None:
        self.done.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def serving(
    script: Callable[[Server, socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    client = Server(script, tls)
    try:
        yield client
    finally:
        client.close()


def reply(response: bytes) -> Callable[[Server, socket.socket], None]:
    def script(self: Server, connection: socket.socket) -> None:
        while self.head(connection):
            connection.sendall(response)

    return script
