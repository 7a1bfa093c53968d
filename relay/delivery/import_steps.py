"""The steps before an import call, shared by the worker, the dry run and `relay import FILE`.

Open the object, inspect the archive, resolve the function's name, build the request.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import ArchiveReport, inspect
from relay.archive.readers import ByteStream, OpenStream
from relay.config.routing import names
from relay.delivery.changes import CodeComparison
from relay.delivery.conflict import ImportRequest, renamed
from relay.delivery.pinning import ObjectReader, pin
from relay.errors import PermanentFailure, TemporaryFailure
from relay.model import Event, Json, Localized, ObjectRef
from relay.targets.contract import FunctionName, Target, UpdateOptions


def open_archive(source: ObjectReader, ref: ObjectRef, export_shape: str | None) -> CheckedArchive:
    """Pin the object to what the storage holds now, and inspect it as an archive."""
    return read_archive(source, pin(source, ref), export_shape)


def read_archive(source: ObjectReader, ref: ObjectRef, export_shape: str | None) -> CheckedArchive:
    """Inspect a pinned object as an archive: read only the directory of the zip."""

    def open_range(start: int, end: int | None) -> ByteStream:
        return source.open(ref, start, end)

    return inspect_archive(
        ref.size or 0, open_range, export_shape, file_name=ref.key.rpartition("/")[2]
    )


def inspect_archive(
    size: int, open_range: OpenStream, export_shape: str | None = None, *, file_name: str = ""
) -> CheckedArchive:
    """Inspect an archive of `size` bytes; `export_shape` "warn" turns shape errors to warnings."""

    def read(start: int, end: int) -> bytes:
        with closing(open_range(start, end)) as stream:
            return read_exactly(stream, end - start)

    report = inspect(size, read)
    if export_shape == "warn":
        report = report.relaxed()
    return CheckedArchive(size, report, open_range, file_name)


def prepare_import(
    target: Target,
    archive: CheckedArchive,
    event: Event,
    options: Json,
    *,
    created: datetime,
    comparison: CodeComparison,
    identity: str = "",
) -> ImportRequest:
    """Build the request to import the archive.

    `created` and `identity`: of the delivery, for the name that `rename` creates.

    Raises PermanentFailure if the archive has errors, if no function name results, or if the
    target would refuse the name or the size.
    """
    refuse_errors(archive.report)
    export = archive.report.export
    function = FunctionName(*names(options, event, export.function if export else None))
    target.check(function, archive.report)
    policy = options.get("on_conflict", "skip")
    copy = renamed(function, created, identity)
    update = UpdateOptions(replace_environment=bool(options.get("replace_environment")))
    return ImportRequest(function, policy, copy, comparison.for_archive(archive.report), update)


def refuse_errors(report: ArchiveReport) -> None:
    """Raise PermanentFailure with the first error's code if the archive has errors.

    The failure's `answer` lists all errors.
    """
    if not report.errors:
        return
    first, *more = report.errors
    message = first.message
    if more:
        message = Localized(
            f"{first.message.en} (and {len(more)} more findings)",
            f"{first.message.zh}（另有 {len(more)} 项问题）",
        )
    answer = "\n".join(f"{finding.code}: {finding.message.en}" for finding in report.errors)
    raise PermanentFailure(first.code, message, first.hint, answer=answer)


def read_exactly(stream: ByteStream, size: int) -> bytes:
    """Read `size` bytes. Raises TemporaryFailure if the stream ends early."""
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    if size:
        raise TemporaryFailure(
            "object.cut",
            Localized("The storage ended the object early", "存储提前结束了对象的传输"),
        )
    return b"".join(parts)
