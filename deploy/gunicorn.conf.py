"""Configuration for starting gunicorn directly: `gunicorn -c deploy/gunicorn.conf.py`.

It behaves like `relay serve`: the settings and the hooks that start and stop the worker are part of
Relay. The settings below are those that a deployment may change.
"""

import os

# gunicorn reads the settings from the names in this module.
from relay.app.gunicorn_config import *  # noqa: F403

# All addresses: a platform that sets $PORT connects from outside. `relay serve` binds to loopback.
bind = f"0.0.0.0:{os.environ.get('PORT') or '8080'}"

# A single process with SQLite, which allows a single writer; with PostgreSQL one process per core.
workers = int(os.environ.get("WEB_CONCURRENCY") or "1")

# "-" writes a line per request to stdout, with the request ID of the X-Request-Id header.
accesslog = None

# gunicorn touches this heartbeat file every second: keep it in memory.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
