"""Configuration of gunicorn, and the hooks that start and stop the worker.

`relay serve` runs gunicorn with `-c python:relay.app.gunicorn_config`; deploy/gunicorn.conf.py
imports this module. Few processes with many threads: slow requests must not block other requests.
"""

from __future__ import annotations

import gc
import os
from typing import Any

GRACE = 25
"""Seconds that running deliveries get after SIGTERM; then they are released."""

wsgi_app = "relay.app.wsgi:create()"
bind = f"127.0.0.1:{os.environ.get('PORT') or '8080'}"
worker_class = "relay.app.gunicorn_worker.GunicornWorker"
# SQLite allows a single writer: a single process by default. Set WEB_CONCURRENCY for PostgreSQL.
workers = int(os.environ.get("WEB_CONCURRENCY") or "1")
threads = 32
keepalive = 75
graceful_timeout = GRACE + 5
control_socket_disable = True
# Used with `--access-logfile`; no access log is written by default. Only the path is logged: a
# hook's query may contain the token.
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s %(L)s s %({x-request-id}o)s'


def tune_garbage_collection() -> None:
    """Reduce garbage collection, which took a tenth of the time of each notification.

    Objects that exist after the start are excluded, and collections become less frequent.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def post_worker_init(worker: Any) -> None:
    """Start the worker after the fork: threads do not survive a fork."""
    tune_garbage_collection()
    relay = worker.wsgi.extensions["relay"]
    if relay.settings.server.worker:
        relay.start_worker()


def worker_exit(_server: Any, worker: Any) -> None:
    """Wait for running deliveries, and release those that do not end in time."""
    if wsgi := getattr(worker, "wsgi", None):
        relay = wsgi.extensions["relay"]
        relay.stop_worker(GRACE)
        relay.close()
