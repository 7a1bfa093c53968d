"""A handler as a stranger may write it: for some keys it raises, hangs, or ends the process."""

from __future__ import annotations

import os
import threading

from relay.handlers import s3
from relay.model import ObjectRef
from relay.sources.s3.storage import S3Stream
from tests.torture.check import PLANTED

RAISES, HANGS, EXITS = "raises", "hangs", "exits"


class Handler(s3.Handler):
    """S3, and worse."""

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> S3Stream:
        if RAISES in ref.key:
            raise ZeroDivisionError(PLANTED)
        if HANGS in ref.key:
            threading.Event().wait()
        if EXITS in ref.key:
            os._exit(9)  # not 3 or 4: gunicorn takes these for a broken configuration, and ends
        return super().open(ref, start, end)
