"""Reads the content of a zip entry: decompresses within limits, verifies, and digests it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from isal import igzip_lib, isal_zlib

from relay.archive.directory import ZipEntry
from relay.archive.findings import finding_error

Piece = bytes | memoryview

CHUNK = 384 * 1024
"""Bytes processed at a time: a multiple of 3, so that base64 needs no padding in between."""

THREAD_FROM = 1024 * 1024
"""Contents of more bytes are digested in a thread; below, starting a thread costs more."""

BATCH = 2
"""Pieces passed to the thread together: waking it costs as much as digesting a few KB."""

MAX_BATCHES = 2
"""Batches that may wait for the thread; they are held in memory."""

_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # the stub has no base class


class Unpacker:
    """Decompresses an entry and raises PermanentFailure if the content is damaged."""

    def __init__(self, entry: ZipEntry) -> None:
        self.entry = entry
        self.size = 0
        self._crc = 0
        compressed = entry.method != 0 and entry.compressed > 0
        self._inflater = (
            igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE) if compressed else None
        )

    def feed(self, compressed: Piece) -> Iterator[Piece]:
        """Yield the content of these bytes, in pieces of at most CHUNK if they are compressed."""
        pieces = self._inflate(self._inflater, compressed) if self._inflater else (compressed,)
        for piece in pieces:
            self.size += len(piece)
            if self.size > self.entry.size:
                raise finding_error("archive.size_differs", self.entry.name, size=self.entry.size)
            self._crc = isal_zlib.crc32(piece, self._crc)
            yield piece

    def finish(self) -> None:
        """Verify size and CRC after the last byte."""
        if self._inflater is not None and not self._inflater.eof:
            raise finding_error("archive.inflate", self.entry.name)
        if self.size != self.entry.size:
            raise finding_error("archive.size_differs", self.entry.name, size=self.entry.size)
        if self._crc != self.entry.crc:
            raise finding_error("archive.crc", self.entry.name)

    def _inflate(self, inflater: igzip_lib.IgzipDecompressor, compressed: Piece) -> Iterator[bytes]:
        try:
            piece = inflater.decompress(compressed, CHUNK)
            while piece or not (inflater.eof or inflater.needs_input):
                yield piece
                if inflater.eof or inflater.needs_input:
                    break
                piece = inflater.decompress(b"", CHUNK)
            if inflater.eof and inflater.unused_data:
                raise finding_error("archive.inflate", self.entry.name)
        except (_IsalError, EOFError):
            raise finding_error("archive.inflate", self.entry.name) from None


def unpack(entry: ZipEntry, compressed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of an entry; the last piece only after the content was verified."""
    unpacker = Unpacker(entry)
    pending = b""
    for chunk in compressed:
        for piece in unpacker.feed(chunk):
            if pending:
                yield pending
            pending = bytes(piece)
    unpacker.finish()
    if pending:
        yield pending


class CodeDigest:
    """Computes the SHA-512 of `size` bytes from pieces, which must not change afterwards.

    Digesting takes longer than the rest of a pass. hashlib releases the GIL, so large contents are
    digested in a thread while the archive is being sent.
    """

    def __init__(self, size: int) -> None:
        self._digest = hashlib.sha512()
        self._thread = ThreadPoolExecutor(1, "digest") if size > THREAD_FROM else None
        self._batch: list[Piece] = []
        self._pending: deque[Future[None]] = deque()

    def update(self, piece: Piece) -> None:
        """Add the next piece; blocks while the thread is too far behind."""
        if self._thread is None:
            self._digest.update(piece)
            return
        self._batch.append(piece)
        if len(self._batch) == BATCH:
            if len(self._pending) >= MAX_BATCHES:
                self._pending.popleft().result()
            self._pending.append(self._thread.submit(self._update_all, self._batch))
            self._batch = []

    def hexdigest(self) -> str:
        """Return the digest of all pieces and end the thread."""
        while self._pending:
            self._pending.popleft().result()
        self._update_all(self._batch)
        self._batch = []
        self.close()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread and drop pending work. Can be called again."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._pending.clear()
            self._thread = None

    def _update_all(self, batch: list[Piece]) -> None:
        for piece in batch:
            self._digest.update(piece)
