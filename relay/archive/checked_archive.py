"""The one pass: an archive's bytes on their way to the target, checked beside the sending."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from relay.archive.digest import CodeDigest
from relay.archive.inflate import CHUNK, unpacked
from relay.archive.inspect import ArchiveReport
from relay.archive.resume import Open, ResumingReader
from relay.archive.stream_check import StreamVerifier
from relay.errors import PermanentFailure
from relay.model import Localized

DIGEST_UP_TO = 50 * 1024 * 1024
"""Bytes up to which an archive (SHA-256) and its code file (SHA-512) are digested in every pass,
beside the sending. Above that, which no real export is, digests would take longer than all the rest
of the pass: the code's is computed when asked for, by reading the code again, which only a lost
answer or a name that is taken make needful."""


class CheckedArchive:
    """An archive that was looked at (`report`) and is read through `open` as often as needed.

    Implements `relay.targets.contract.Archive`. Memory is bounded by a few chunks. `sha256` (hex,
    of the whole) is known after a pass.
    """

    digest_up_to = DIGEST_UP_TO

    def __init__(self, name: str, size: int, report: ArchiveReport, open_: Open) -> None:
        self.name = name
        self.size = size
        self.report = report
        self.sha256: str | None = None
        self._open = open_
        self._code_digest: str | None = None

    @property
    def code_size(self) -> int | None:
        """Bytes of the code file, unpacked; None: the archive is no export."""
        code = self.report.export and self.report.export.code
        return code.size if code else None

    def chunks(self) -> Iterator[bytes]:
        """All bytes, in chunks of CHUNK; the last one only after every check has passed.

        Raises PermanentFailure (damaged), TemporaryFailure (the store broke off, and resuming did
        not help), Superseded or Gone (not the bytes that were looked at).
        """
        self._refuse()
        summed = self.size <= self.digest_up_to
        digested = (self.code_size or 0) <= self.digest_up_to
        with closing(StreamVerifier(self.report, summed=summed, digested=digested)) as check:
            for chunk in ResumingReader(self._open, self.size, 0, self.size).chunks(CHUNK):
                check.feed(chunk)
                if check.complete:
                    self._conclude(check)
                yield chunk

    def code(self) -> Iterator[bytes]:
        """The code file's bytes, unpacked; the last piece only after its check has passed.

        Raises as `chunks` does, and PermanentFailure when the archive has no code file.
        """
        self._refuse()
        export = self.report.export
        code = export.code if export else None
        if code is None or code.data is None:
            raise _no_code()
        source = ResumingReader(self._open, self.size, code.data, code.data + code.compressed)
        with closing(CodeDigest(code.size)) as digest:
            for piece in unpacked(code, source.chunks(CHUNK)):
                digest.update(piece)
                yield piece
            self._code_digest = digest.hexdigest()

    def code_digest(self) -> str:
        """SHA-512 (hex) of the code file; "" when the archive has none.

        Reads it when no earlier pass did; raises as `code` does.
        """
        if self.code_size is None:
            return ""
        if self._code_digest is None:
            for _ in self.code():
                pass
        return self._code_digest or ""

    @property
    def known_digest(self) -> str | None:
        """The SHA-512 (hex) of the code file if some pass computed it; reads nothing."""
        return self._code_digest

    def _conclude(self, check: StreamVerifier) -> None:
        self.sha256 = check.sha256
        self._code_digest = check.code_digest or self._code_digest

    def _refuse(self) -> None:
        for finding in self.report.errors:
            raise finding.failure


def _no_code() -> PermanentFailure:
    return PermanentFailure(
        "export.no_code",
        Localized(
            "The archive has no code file to update with", "压缩包中没有可用于更新的代码文件"
        ),
        Localized(
            "Only an exported function can replace one. Upload an export, or choose another name.",
            "只有导出的函数包才能用于覆盖更新。请上传导出包，或使用其他函数名。",
        ),
    )
