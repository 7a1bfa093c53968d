"""I3: compares the outcome of each import with what the sandbox and the bucket really hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.torture.ledger import Row
from tests.torture.record import Upload

if TYPE_CHECKING:
    from tests.torture.world import World

SAME_CODE = ("unchanged", "configuration differs")
ENDED_WELL = ("succeeded", "skipped")


def false_outcomes(world: World, imports: list[Row]) -> Iterator[str]:
    """Yield a sentence for each final outcome that contradicts the sandbox or the bucket."""
    judge = _Judge(world, imports)
    for row in imports:
        upload = world.record.uploads.get(row.name)
        if upload is None or row.is_open or row.reason == "no route":
            continue
        if contradiction := judge.contradiction(row, upload):
            words = f"{row.state} ({row.reason or row.error or row.result.get('how')})"
            yield f"I3 {row.key} {row.version} {words}, {contradiction}"


class _Judge:
    def __init__(self, world: World, imports: list[Row]) -> None:
        self._world = world
        self._imported = set(world.record.effective())
        """The functions and digests that the relay has imported."""
        self._held = self._imported | world.record.held
        self._uploads = Counter(
            (upload.function, upload.digest) for upload in world.record.uploads.values()
        )
        self._rows = {row.name: row for row in imports}

    def contradiction(self, row: Row, upload: Upload) -> str | None:
        match row.state:
            case "succeeded":
                return self._of_success(row, upload)
            case "failed":
                return self._of_failure(row, upload)
        return self._of_skip(row, upload)

    def _of_success(self, row: Row, upload: Upload) -> str | None:
        code = str(row.result.get("func_name") or upload.function), upload.digest
        if row.result.get("how") == "unchanged":
            return None if code in self._held else "the sandbox never held this code"
        return None if code in self._imported else "the sandbox never got it"

    def _of_failure(self, row: Row, upload: Upload) -> str | None:
        if self._is_imported(row, upload) and not _says_so(row):
            return "the sandbox has it"
        if upload.is_good and not self._world.may_fail:
            return "although it is good"
        return None

    def _of_skip(self, row: Row, upload: Upload) -> str | None:
        if row.reason in SAME_CODE:
            code = upload.function, upload.digest
            if code not in self._held:
                return "the sandbox never held this code"
            is_own = code not in self._world.record.held and self._uploads[code] == 1
            if is_own and row.id not in self._world.retriggered:
                return "this upload itself was imported"
            return None
        if self._is_imported(row, upload) and not _says_so(row):
            return "the sandbox has it"
        if row.reason == "gone" and self._world.bucket.has(upload.version):
            return "the bucket has the object"
        if row.reason == "superseded" and not self._has_newer(upload):
            return "no newer upload of the object or the function was imported"
        return None

    def _is_imported(self, row: Row, upload: Upload) -> bool:
        """Return whether this upload was imported, and not another one with the same code."""
        code = upload.function, upload.digest
        is_only = self._uploads[code] == 1 or row.state == "failed"
        return code in self._imported and is_only

    def _has_newer(self, upload: Upload) -> bool:
        return any(
            self._is_over(other)
            for other in self._world.record.uploads.values()
            if other.version.sequence > upload.version.sequence
            and (other.function == upload.function or other.version.key == upload.version.key)
        )

    def _is_over(self, newer: Upload) -> bool:
        """Return whether a newer upload was imported, or failed as it may."""
        row = self._rows.get(newer.name)
        if row is None:
            return False
        may_fail = self._world.may_fail or not newer.is_good
        return row.state in ENDED_WELL or (row.state == "failed" and may_fail)


def _says_so(row: Row) -> bool:
    """Return whether the outcome says that the code of the function was changed."""
    return "code" in (row.result.get("effect") or ())
