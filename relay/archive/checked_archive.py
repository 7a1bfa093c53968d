"""Streams an inspected archive to a target and verifies the bytes on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from relay.archive.content import CHUNK, CodeDigest, unpack
from relay.archive.inspect import ArchiveReport
from relay.archive.readers import OpenStream, ResumingReader
from relay.archive.stream_check import StreamVerifier
from relay.errors import PermanentFailure
from relay.model import Localized


class CheckedArchive:
    """An inspected archive that is streamed through `open_` any number of times.

    Holds only a few chunks in memory. `sha256` is the
    hex digest of the archive after a complete pass.
    """

    digest_up_to = 50 * 1024 * 1024
    """Size in bytes up to which every pass digests the archive (SHA-256) and the code (SHA-512).

    Real exports are smaller. The digest of larger code takes longer than the rest of the pass: it
    is computed on request, which only a lost response or a taken name causes.
    """

    def __init__(self, size: int, report: ArchiveReport, open_: OpenStream) -> None:
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
            hash_code=(self.code_size or 0) <= self.digest_up_to,
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
