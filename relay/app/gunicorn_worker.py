"""A threaded gunicorn worker that gives a connection a thread only when a request begins.

gunicorn's own worker blocks a thread for five seconds on each new silent connection. A few hundred
such connections cost an attacker nothing and would block all other clients.
"""

from __future__ import annotations

import selectors
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from relay.app.gunicorn_config import GRACE


class GunicornWorker(ThreadWorker):  # type: ignore[misc]
    """Keeps silent connections in the poller, where kept-alive connections wait."""

    def enqueue_req(self, conn: Any) -> None:
        """Queue a request; a new connection without data waits in the poller first."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        on_readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, on_readable)

    def _cap_keepalive(self, deadline: float) -> None:
        """The first step of stopping: start no more deliveries while requests finish.

        Silent connections get the same deadline as kept-alive ones.
        """
        self.wsgi.extensions["relay"].ask_to_stop(GRACE)
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
