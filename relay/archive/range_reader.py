"""Window: a look into an archive by few and bounded range reads."""

from __future__ import annotations

from collections.abc import Callable

from relay.errors import TemporaryFailure
from relay.model import Localized

ReadRange = Callable[[int, int], bytes]
"""read(start, end) -> exactly the archive's bytes [start, end)."""

LOOK_BACK = 22 + 0xFFFF
"""How far from the end a zip's end record may begin."""


class RangeReader:
    """The bytes of an archive of `size` bytes, read where asked for and kept.

    Neighbours are read together: `ahead` bytes at least, as far as the archive goes. `reads` and
    `fetched` count range reads and their bytes.
    """

    def __init__(self, size: int, read: ReadRange, ahead: int = 16 * 1024) -> None:
        self.size = size
        self.reads = 0
        self.fetched = 0
        self._read = read
        self._ahead = ahead
        self._pieces: list[tuple[int, bytes]] = []

    def at(self, start: int, end: int) -> bytes:
        """The bytes [start, end), cut where the archive ends."""
        end = min(end, self.size)
        if start >= end:
            return b""
        kept = self._kept(start, end)
        return self._fetched(start, end) if kept is None else kept

    def count(self, signature: bytes, start: int) -> int:
        """How often `signature` is there from `start` on, as far back as an end can begin."""
        return self.at(max(start, self.size - LOOK_BACK), self.size).count(signature)

    def _kept(self, start: int, end: int) -> bytes | None:
        for begin, piece in self._pieces:
            if begin <= start and end <= begin + len(piece):
                return piece[start - begin : end - begin]
        return None

    def _fetched(self, start: int, end: int) -> bytes:
        stop = min(self.size, max(end, start + self._ahead))
        piece = self._read(start, stop)
        self.reads += 1
        self.fetched += len(piece)
        if len(piece) != stop - start:
            raise TemporaryFailure(
                "object.cut",
                Localized(
                    f"The store gave {len(piece)} bytes where {stop - start} were asked for",
                    f"请求 {stop - start} 字节，存储只返回了 {len(piece)} 字节",
                ),
            )
        self._pieces.append((start, piece))
        return piece[: end - start]
