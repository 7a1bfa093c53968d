"""Digests an entry's content in a thread of its own: it costs more than all the rest of a pass."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

Piece = bytes | memoryview

SMALL = 1024 * 1024
"""Bytes up to which a thread is not worth its start."""

BATCH = 2
"""Pieces that are handed over together: waking a thread costs as much as digesting a few KB."""

AHEAD = 2
"""Batches that may wait for the thread: they are held in memory."""


class CodeDigest:
    """SHA-512 of `size` bytes that come in pieces. Pieces must not change afterwards.

    hashlib lets other threads run while it works, so a big one is computed beside the sending.
    """

    def __init__(self, size: int) -> None:
        self._digest = hashlib.sha512()
        self._beside = ThreadPoolExecutor(1, "digest") if size > SMALL else None
        self._batch: list[Piece] = []
        self._waiting: deque[Future[None]] = deque()

    def update(self, piece: Piece) -> None:
        """Takes the next piece; waits when the thread is far behind."""
        if self._beside is None:
            self._digest.update(piece)
            return
        self._batch.append(piece)
        if len(self._batch) == BATCH:
            if len(self._waiting) >= AHEAD:
                self._waiting.popleft().result()
            self._waiting.append(self._beside.submit(self._take, self._batch))
            self._batch = []

    def hexdigest(self) -> str:
        """Of all that was taken; waits for the thread."""
        while self._waiting:
            self._waiting.popleft().result()
        self._take(self._batch)
        self._batch = []
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Ends the thread, whatever it was given; may be called again."""
        if self._beside is not None:
            self._beside.shutdown(cancel_futures=True)
            self._waiting.clear()
            self._beside = None

    def _take(self, batch: list[Piece]) -> None:
        for piece in batch:
            self._digest.update(piece)
