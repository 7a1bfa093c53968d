"""How gunicorn runs Relay: its settings, and the hooks that start and stop the worker in it.

`relay serve` runs gunicorn with `-c python:relay.app.gunicorn_config`; deploy/gunicorn.conf.py
imports it.
Few processes with many threads: half-sent requests must not stop the others.
"""

from __future__ import annotations

import gc
import os
from typing import Any

GRACE = 25
"""Seconds a delivery under way gets after SIGTERM; then it is given back and done elsewhere."""

wsgi_app = "relay.app.wsgi:create()"
bind = f"127.0.0.1:{os.environ.get('PORT') or '8080'}"
worker_class = "relay.app.gunicorn_worker.Worker"
# SQLite has one writer: one process. Over PostgreSQL WEB_CONCURRENCY may say more.
workers = int(os.environ.get("WEB_CONCURRENCY") or "1")
threads = 32
keepalive = 75
graceful_timeout = GRACE + 5
control_socket_disable = True
# For `--access-logfile`; none is written by default. The path alone: a hook's query may hold its
# token.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(L)s s %({x-request-id}o)s'


def collect_seldom() -> None:
    """What is there after the start stays: Python's collector need not go through it again, nor
    after each of a few notifications. It took a tenth of each."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def post_worker_init(worker: Any) -> None:
    """After the fork: threads made earlier would not be in this process."""
    collect_seldom()
    relay = worker.wsgi.extensions["relay"]
    if relay.settings.server.worker:
        relay.start_worker()


def worker_exit(_server: Any, worker: Any) -> None:
    """Lets deliveries end; what does not in time goes back to the ledger."""
    wsgi = getattr(worker, "wsgi", None)
    relay = wsgi.extensions["relay"] if wsgi is not None else None
    if relay is not None:
        relay.stop_worker(GRACE)
        relay.close()
