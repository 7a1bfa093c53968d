"""Unpacks one entry piece by piece, never beyond what it declares, and gives the verdict on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from isal import igzip_lib, isal_zlib

from relay.archive.digest import Piece
from relay.archive.directory import ZipEntry
from relay.archive.findings import refusal

CHUNK = 384 * 1024
"""Bytes handled at once: a multiple of 3, for base64 without a remainder."""

_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub has no base


class Unpacker:
    """The content of one entry, from its packed bytes; PermanentFailure where they are wrong."""

    def __init__(self, entry: ZipEntry) -> None:
        self.entry = entry
        self.size = 0
        self._crc = 0
        packed = entry.method != 0 and entry.compressed > 0
        self._inflater = (
            igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE) if packed else None
        )

    def feed(self, packed: Piece) -> Iterator[Piece]:
        """The content that these packed bytes bring, in pieces of at most CHUNK when inflated."""
        pieces = self._inflated(self._inflater, packed) if self._inflater else (packed,)
        for piece in pieces:
            self.size += len(piece)
            if self.size > self.entry.size:
                raise refusal("archive.size_differs", self.entry.name, size=self.entry.size)
            self._crc = isal_zlib.crc32(piece, self._crc)
            yield piece

    def finish(self) -> None:
        """The verdict, once everything was fed."""
        if self._inflater is not None and not self._inflater.eof:
            raise refusal("archive.inflate", self.entry.name)
        if self.size != self.entry.size:
            raise refusal("archive.size_differs", self.entry.name, size=self.entry.size)
        if self._crc != self.entry.crc:
            raise refusal("archive.crc", self.entry.name)

    def _inflated(self, inflater: igzip_lib.IgzipDecompressor, packed: Piece) -> Iterator[bytes]:
        try:
            piece = inflater.decompress(packed, CHUNK)
            while piece or not (inflater.eof or inflater.needs_input):
                yield piece
                if inflater.eof or inflater.needs_input:
                    break
                piece = inflater.decompress(b"", CHUNK)
            if inflater.eof and inflater.unused_data:
                raise refusal("archive.inflate", self.entry.name)
        except (_IsalError, EOFError):
            raise refusal("archive.inflate", self.entry.name) from None


def unpacked(entry: ZipEntry, packed: Iterable[bytes]) -> Iterator[bytes]:
    """The checked content of an entry; its last piece comes only after the verdict."""
    unpacker = Unpacker(entry)
    last = b""
    for chunk in packed:
        for piece in unpacker.feed(chunk):
            if last:
                yield last
            last = bytes(piece)
    unpacker.finish()
    if last:
        yield last
