"""A faulty third-party handler: for some keys it raises, hangs or ends the process."""

from __future__ import annotations

import os
import threading

from relay.handlers import s3
from relay.model import ObjectRef
from relay.sources.s3.storage import S3Stream
from tests.torture.check import INJECTED_BUG

RAISES, HANGS, EXITS = "raises", "hangs", "exits"


class Handler(s3.Handler):
    """The S3 handler with injected faults."""

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> S3Stream:
        if RAISES in ref.key:
            raise ZeroDivisionError(INJECTED_BUG)
        if HANGS in ref.key:
            threading.Event().wait()
        if EXITS in ref.key:
            os._exit(9)  # gunicorn stops on 3 and 4, as configuration errors
        return super().open(ref, start, end)
