"""For those who start gunicorn themselves: `gunicorn -c deploy/gunicorn.conf.py`.

It does what `relay serve` does: the settings and the hooks that start and stop the worker come
with Relay. Below them stands what a deployment may want otherwise.
"""

import os

# gunicorn reads its settings from the names in this file.
from relay.app.gunicorn_config import *  # noqa: F403

# Everywhere: a platform that gives $PORT asks from outside. `relay serve` alone stays on loopback.
bind = f"0.0.0.0:{os.environ.get('PORT') or '8080'}"

# One process while the ledger is SQLite, which has one writer; over PostgreSQL one for each core.
workers = int(os.environ.get("WEB_CONCURRENCY") or "1")

# Set to "-" for a line on stdout for each request, with the id that the answer's X-Request-Id has.
accesslog = None

# gunicorn's sign of life, touched each second: in memory, never on a slow or read-only disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
