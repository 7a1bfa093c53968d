"""gunicorn's worker with threads, where a connection takes a thread once its request begins.

gunicorn's own keeps a thread of the pool for five seconds on each new connection that says nothing
yet: some hundred such connections, which cost their sender nothing, shut everybody else out.
"""

from __future__ import annotations

import selectors
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from relay.app.gunicorn_config import GRACE


class Worker(ThreadWorker):  # type: ignore[misc]
    """What has sent nothing yet waits where kept-alive connections wait, as long as these."""

    def enqueue_req(self, conn: Any) -> None:
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        begins = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, begins)

    def _cap_keepalive(self, deadline: float) -> None:
        """The first thing that a worker does which stops: no delivery begins from now on, while
        requests under way end, and silent connections get no longer than kept-alive ones."""
        self.wsgi.extensions["relay"].ask_to_stop(GRACE)
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)
