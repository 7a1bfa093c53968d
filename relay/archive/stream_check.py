"""Checks an archive while its bytes pass by, front to back, against what its directory said."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from relay.archive.digest import CodeDigest, Piece
from relay.archive.directory import (
    DESCRIPTOR,
    DESCRIPTOR_SIZES,
    LOCAL,
    ZipEntry,
    descriptor_fits,
    differences,
    local_rest,
)
from relay.archive.findings import refusal
from relay.archive.inflate import Unpacker
from relay.archive.inspect import ArchiveReport
from relay.errors import TemporaryFailure
from relay.model import Localized


class _Part:
    """The next `left` bytes of the archive, kept."""

    def __init__(self, length: int) -> None:
        self.left = length
        self._kept: list[bytes] = []

    def take(self, piece: Piece) -> None:
        self._kept.append(bytes(piece))

    @property
    def kept(self) -> bytes:
        return b"".join(self._kept)


class _Content(_Part):
    """An entry's data: unpacked and checked, digested when it is the code, not kept."""

    def __init__(self, entry: ZipEntry, digest: CodeDigest | None) -> None:
        super().__init__(entry.compressed)
        self.unpacker = Unpacker(entry)
        self.digest = digest

    def take(self, piece: Piece) -> None:
        for content in self.unpacker.feed(piece):
            if self.digest is not None:
                self.digest.update(content)


class _Digested(_Part):
    """Bytes of which only the SHA-256 is wanted."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.digest = hashlib.sha256()

    def take(self, piece: Piece) -> None:
        self.digest.update(piece)


class StreamVerifier:
    """Fed with all bytes of an archive in order; `complete` once every verdict is in.

    `code_digest` (SHA-512, hex, of the code file, unpacked; None without one) is known then when
    it was `digested`, and `sha256` (hex, of the whole) when it was `summed`. Has to be closed.
    """

    def __init__(
        self, report: ArchiveReport, *, summed: bool = False, digested: bool = True
    ) -> None:
        self.complete = False
        self.sha256: str | None = None
        self.code_digest: str | None = None
        self._report = report
        self._sum = hashlib.sha256() if summed else None
        self._digested = digested
        self._code: CodeDigest | None = None
        self._at = 0
        self._parts = self._walk()
        self._part = next(self._parts)

    def feed(self, chunk: bytes) -> None:
        """Raises PermanentFailure as soon as bytes are wrong, TemporaryFailure when others came."""
        if self._sum is not None:
            self._sum.update(chunk)
        rest = memoryview(chunk)
        while rest and not self.complete:
            taken = rest[: self._part.left]
            self._part.take(taken)
            self._part.left -= len(taken)
            self._at += len(taken)
            rest = rest[len(taken) :]
            self._advance()

    def close(self) -> None:
        """Ends what works beside, also when the pass was given up."""
        if self._code is not None:
            self._code.close()

    def _advance(self) -> None:
        while not self._part.left and not self.complete:
            part = next(self._parts, None)
            if part is None:
                self.complete = True
                self.code_digest = self._code.hexdigest() if self._code is not None else None
                self.sha256 = self._sum.hexdigest() if self._sum is not None else None
            else:
                self._part = part

    def _walk(self) -> Iterator[_Part]:
        """The archive's parts in order; each verdict is given when the next part is asked for."""
        entries = sorted(self._report.entries, key=lambda entry: entry.offset)
        limits = [entry.offset for entry in entries[1:]] + [self._report.directory]
        for entry, limit in zip(entries, limits, strict=True):
            yield from self._header(entry, limit)
            yield from self._content(entry)
            yield from self._after(entry, limit)
        tail = _Digested(self._report.size - self._report.directory)
        yield tail
        if tail.digest.hexdigest() != self._report.directory_digest:
            raise _changed()

    def _header(self, entry: ZipEntry, limit: int) -> Iterator[_Part]:
        header = _Part(LOCAL.size)
        yield header
        length = local_rest(header.kept)
        if length is None:
            raise refusal("archive.local_missing", entry.name)
        rest = _Part(length)
        yield rest
        differ = differences(entry, header.kept, rest.kept)
        if differ is not None:
            raise refusal("archive.headers_differ", entry.name, fields=differ)
        if self._at + entry.compressed > limit:
            raise refusal("archive.overlap", entry.name)

    def _content(self, entry: ZipEntry) -> Iterator[_Part]:
        export = self._report.export
        digest = None
        if self._digested and export is not None and export.code == entry:
            digest = self._code = CodeDigest(entry.size)
        content = _Content(entry, digest)
        yield content
        content.unpacker.finish()

    def _after(self, entry: ZipEntry, limit: int) -> Iterator[_Part]:
        """Nothing, or the closing record of an entry whose sizes were not known in front."""
        length = limit - self._at
        if not entry.flags & DESCRIPTOR:
            if length:
                place = Localized("what follows it", "其后内容")
                raise refusal("archive.gap", entry.name, count=length, before=place)
            return
        if length not in DESCRIPTOR_SIZES:
            raise refusal("archive.descriptor", entry.name)
        record = _Part(length)
        yield record
        if not descriptor_fits(entry, record.kept):
            raise refusal("archive.descriptor", entry.name)


def _changed() -> TemporaryFailure:
    """Replaced or damaged in between: only another look can tell."""
    return TemporaryFailure(
        "object.changed",
        Localized(
            "The end of the object is not the one that was looked at a moment ago",
            "对象的结尾与刚才检查时不一致",
        ),
        Localized("Relay looks at it again.", "Relay 会重新检查该对象。"),
    )
