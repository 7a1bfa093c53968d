"""Streams an inspected archive to a target and verifies the bytes against the directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing

from relay.archive.content import CHUNK, CodeDigest, Piece, Unpacker, unpack
from relay.archive.directory import (
    DESCRIPTOR,
    DESCRIPTOR_SIZES,
    LOCAL,
    ZipEntry,
    descriptor_matches,
    differences,
    variable_length,
)
from relay.archive.findings import finding_error
from relay.archive.inspect import ArchiveReport
from relay.archive.readers import OpenStream, ResumingReader
from relay.errors import PermanentFailure, TemporaryFailure
from relay.model import Localized


class _ArchivePart:
    """The next `left` bytes of the archive, held in memory."""

    def __init__(self, length: int) -> None:
        self.left = length
        self._pieces: list[bytes] = []

    def take(self, piece: Piece) -> None:
        self._pieces.append(bytes(piece))

    @property
    def content(self) -> bytes:
        return b"".join(self._pieces)


class _EntryData(_ArchivePart):
    """The data of an entry: verified, digested if it is the code file, not held in memory."""

    def __init__(self, entry: ZipEntry, digest: CodeDigest | None) -> None:
        super().__init__(entry.compressed)
        self.unpacker = Unpacker(entry)
        self.digest = digest

    def take(self, piece: Piece) -> None:
        for content in self.unpacker.feed(piece):
            if self.digest is not None:
                self.digest.update(content)


class _DigestedPart(_ArchivePart):
    """Bytes of which only the SHA-256 is computed."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.digest = hashlib.sha256()

    def take(self, piece: Piece) -> None:
        self.digest.update(piece)


class StreamVerifier:
    """Receives all bytes of an archive in order; `complete` is True after the last check passed.

    Then `sha256` is the hex digest of the archive if `hash_archive` is set, and `code_digest` the
    SHA-512 (hex) of the unpacked code file, if there is one. Must be closed.
    """

    def __init__(self, report: ArchiveReport, *, hash_archive: bool = False) -> None:
        self.complete = False
        self.sha256: str | None = None
        self.code_digest: str | None = None
        self._report = report
        self._archive_digest = hashlib.sha256() if hash_archive else None
        self._code_digest: CodeDigest | None = None
        self._at = 0
        self._parts = self._walk()
        self._part = next(self._parts)

    def feed(self, chunk: bytes) -> None:
        """Raise PermanentFailure if the bytes are damaged, TemporaryFailure if they changed."""
        if self._archive_digest is not None:
            self._archive_digest.update(chunk)
        remaining = memoryview(chunk)
        while remaining and not self.complete:
            taken = remaining[: self._part.left]
            self._part.take(taken)
            self._part.left -= len(taken)
            self._at += len(taken)
            remaining = remaining[len(taken) :]
            self._advance()

    def close(self) -> None:
        """End the digest thread, also after an incomplete pass."""
        if self._code_digest is not None:
            self._code_digest.close()

    def _advance(self) -> None:
        while not self._part.left and not self.complete:
            part = next(self._parts, None)
            if part is None:
                self.complete = True
                if self._code_digest is not None:
                    self.code_digest = self._code_digest.hexdigest()
                if self._archive_digest is not None:
                    self.sha256 = self._archive_digest.hexdigest()
            else:
                self._part = part

    def _walk(self) -> Iterator[_ArchivePart]:
        """Yield the parts in order; a part is checked when the next part is requested."""
        entries = sorted(self._report.entries, key=lambda entry: entry.offset)
        limits = [entry.offset for entry in entries[1:]] + [self._report.directory]
        for entry, limit in zip(entries, limits, strict=True):
            yield from self._header(entry, limit)
            yield from self._content(entry)
            yield from self._data_descriptor(entry, limit)
        tail = _DigestedPart(self._report.size - self._report.directory)
        yield tail
        if tail.digest.hexdigest() != self._report.directory_digest:
            # The object was replaced or damaged; a new inspection finds out which.
            raise TemporaryFailure(
                "object.changed",
                Localized(
                    "The end of the object differs from the inspected object",
                    "对象的结尾与检查时不一致",
                ),
                Localized("Relay inspects the object again.", "Relay 会重新检查该对象。"),
            )

    def _header(self, entry: ZipEntry, limit: int) -> Iterator[_ArchivePart]:
        header = _ArchivePart(LOCAL.size)
        yield header
        length = variable_length(header.content)
        if length is None:
            raise finding_error("archive.local_missing", entry.name)
        names = _ArchivePart(length)
        yield names
        differ = differences(entry, header.content, names.content)
        if differ is not None:
            raise finding_error("archive.headers_differ", entry.name, fields=differ)
        if self._at + entry.compressed > limit:
            raise finding_error("archive.overlap", entry.name)

    def _content(self, entry: ZipEntry) -> Iterator[_ArchivePart]:
        export = self._report.export
        digest = None
        if export is not None and export.code == entry:
            digest = self._code_digest = CodeDigest(entry.size)
        data = _EntryData(entry, digest)
        yield data
        data.unpacker.finish()

    def _data_descriptor(self, entry: ZipEntry, limit: int) -> Iterator[_ArchivePart]:
        length = limit - self._at
        if not entry.flags & DESCRIPTOR:
            if length:
                following = Localized("what follows it", "其后内容")
                raise finding_error("archive.gap", entry.name, count=length, before=following)
            return
        if length not in DESCRIPTOR_SIZES:
            raise finding_error("archive.descriptor", entry.name)
        record = _ArchivePart(length)
        yield record
        if not descriptor_matches(entry, record.content):
            raise finding_error("archive.descriptor", entry.name)


class CheckedArchive:
    """An inspected archive that is streamed through `open_` any number of times.

    Holds only a few chunks in memory. `sha256` is the hex digest after a complete pass.
    """

    digest_up_to = 50 * 1024 * 1024
    """Size in bytes up to which every pass computes the SHA-256 of the archive.

    Real exports are smaller. The SHA-512 of the code is computed in every pass.
    """

    def __init__(
        self, size: int, report: ArchiveReport, open_: OpenStream, file_name: str = ""
    ) -> None:
        """`file_name`: the last part of the object's key, or the name of the file."""
        self.file_name = file_name
        self.size = size
        self.report = report
        self.sha256: str | None = None
        self._open = open_
        self._code_digest: str | None = None

    @property
    def code_size(self) -> int | None:
        """Size of the unpacked code file, or None if the archive is not an export."""
        code = self.report.export and self.report.export.code
        return code.size if code else None

    def chunks(self) -> Iterator[bytes]:
        """Yield all bytes in chunks of CHUNK; the last chunk only after every check passed.

        Raises PermanentFailure if the archive is damaged, TemporaryFailure if the storage fails,
        and Superseded or Gone if the object changed since the inspection.
        """
        self._raise_errors()
        verifier = StreamVerifier(
            self.report,
            hash_archive=self.size <= self.digest_up_to,
        )
        with closing(verifier):
            for chunk in ResumingReader(self._open, self.size, 0, self.size).chunks(CHUNK):
                verifier.feed(chunk)
                if verifier.complete:
                    self.sha256 = verifier.sha256
                    self._code_digest = verifier.code_digest or self._code_digest
                yield chunk

    def code(self) -> Iterator[bytes]:
        """Yield the unpacked code file; the last piece only after the content was verified.

        Raises the errors of `chunks`, and PermanentFailure if the archive has no code file.
        """
        self._raise_errors()
        export = self.report.export
        code = export.code if export else None
        if code is None or code.data is None:
            raise PermanentFailure(
                "export.no_code",
                Localized(
                    "The archive has no code file for an update", "压缩包中没有可用于更新的代码文件"
                ),
                Localized(
                    "Only an exported function can replace a function. Upload an export, or use"
                    " another function name.",
                    "只有导出的函数包才能用于覆盖更新。请上传导出包，或使用其他函数名。",
                ),
            )
        source = ResumingReader(self._open, self.size, code.data, code.data + code.compressed)
        with closing(CodeDigest(code.size)) as digest:
            for piece in unpack(code, source.chunks(CHUNK)):
                digest.update(piece)
                yield piece
            self._code_digest = digest.hexdigest()

    def code_digest(self) -> str:
        """Return the SHA-512 (hex) of the code file, or "" if there is none.

        Reads the code file if no earlier pass did, and raises the errors of `code`.
        """
        if self.code_size is None:
            return ""
        if self._code_digest is None:
            for _ in self.code():
                pass
        return self._code_digest or ""

    @property
    def known_digest(self) -> str | None:
        """The SHA-512 (hex) of the code file if an earlier pass computed it."""
        return self._code_digest

    def _raise_errors(self) -> None:
        for finding in self.report.errors:
            raise finding.failure
