"""A local folder: watched, scanned and read, without access outside of it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, ClassVar

from pydantic import DirectoryPath, Field

from relay.config.load import SourceSettings
from relay.config.units import Duration
from relay.errors import (
    Gone,
    PermanentFailure,
    RelayError,
    Superseded,
    TemporaryFailure,
    Unreadable,
)
from relay.handlers.local.folder import File, file_at, open_inside, path_of, walk
from relay.handlers.local.watch import FolderWatch
from relay.model import Event, Localized, ObjectInfo, ObjectRef, ScanCursor
from relay.sources.contract import PAGE, Queue, ScanPage, StorageHandler
from relay.sources.fields import count, text
from relay.sources.setup.steps import SetupContext, Step, note


class FolderSettings(SourceSettings):
    """`folder` contains the archives; the bucket name is the name of the source."""

    accept: tuple[str, ...] = Field(
        ("signed", "bare"), description=SourceSettings.model_fields["accept"].description
    )
    folder: DirectoryPath = Field(description="the watched folder, with all subfolders")
    settle: Duration = Field(
        timedelta(seconds=2), description="how long a file must not change until it is complete"
    )
    scan_every: Duration = Field(
        timedelta(seconds=60),
        description="how often to scan for files that the watch missed; 0: never",
    )
    scan_limit: int = Field(
        100_000, ge=0, description="files per run, the next run continues there; 0: all"
    )


class FileStream:
    """Reads a file, and checks on each read that it has not changed."""

    def __init__(self, descriptor: int, file: File, start: int, end: int | None) -> None:
        self.info = _info(file)
        self._descriptor: int | None = descriptor
        self._file = file
        self._position = start
        self._end = min(file.size, file.size if end is None else end)

    def read(self, size: int, /) -> bytes:
        if self._descriptor is None or size <= 0 or self._position >= self._end:
            return b""
        try:
            length = min(size, self._end - self._position)
            data = os.pread(self._descriptor, length, self._position)
            now = file_at(self._file.key, self._descriptor)
        except OSError as error:
            raise _translate(error, self._file.key) from error
        if not data or now is None or now.etag != self._file.etag:
            raise _superseded(self._file.key)
        self._position += len(data)
        return data

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Handler(StorageHandler):
    """Keys are relative paths with `/`. Links are not followed; hidden files and files that end in
    .part or .tmp are ignored."""

    Settings: ClassVar[type[SourceSettings]] = FolderSettings
    settings: FolderSettings
    announces = False

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record of FolderWatch."""
        if text(record, "bucket") != self.name:
            raise Unreadable(
                "record.other_bucket",
                Localized("The record belongs to another folder", "该记录属于另一个文件夹"),
            )
        numbers = (count(record, name) for name in ("inode", "size", "modified", "changed"))
        file = File(text(record, "key"), *numbers)
        if path_of(file.key) is None:
            raise Unreadable(
                "record.key",
                Localized("The key is not a path in the folder", "key 不是文件夹内的路径"),
            )
        yield self._event(file, "file")

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> FileStream:
        """The bytes [start, end), pinned to inode, size and time."""
        path = path_of(ref.key)
        if path is None or ref.bucket != self.name:
            raise PermanentFailure(
                "local.leads_out",
                Localized(f"{ref.key} is not in the folder", f"{ref.key} 不在该文件夹内"),
                Localized(
                    "A key is a path in the folder, without . or .. in it.",
                    "key 应为文件夹内的路径，不含 . 或 ..。",
                ),
            )
        try:
            descriptor = open_inside(self.settings.folder, path)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self._require_folder()
            raise _translate(error, ref.key) from error
        file = file_at(ref.key, descriptor)
        if file is not None and ref.etag in (None, file.etag):
            return FileStream(descriptor, file, start, end)
        os.close(descriptor)
        raise _superseded(ref.key) if file else _translate(OSError(errno.EISDIR, ""), ref.key)

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """The files that have settled. `since` is compared with the last change or rename, because
        copying tools can set the modification time."""
        return (event for page in self.scan_pages(since) for event in page.events)

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """The same in pages."""
        earliest = 0 if since is None else int(since.timestamp() * 10**9)
        latest = time.time_ns() - int(self.settings.settle.total_seconds() * 10**9)
        files = walk(self.settings.folder, (path_of(after[1]) if after else None) or "")
        size = min(limit or PAGE, PAGE)
        page = list(islice(files, size))
        while page:
            following = list(islice(files, size))
            settled = (file for file in page if earliest <= file.changed <= latest)
            events = tuple(self._event(file, "found") for file in settled)
            cursor = (self.name, page[-1].key) if following else None
            yield ScanPage(events, len(page), cursor)
            page = following

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        """The same event as that of watch and scan, without an order: it can be any version."""
        event = super().event_for(ref, info)
        return replace(event, identity=f"file:{info.etag}")

    def queue(self) -> Queue:
        """The watch of the folder."""
        return FolderWatch(
            self.name, self.settings.folder.resolve(), self.settings.settle.total_seconds()
        )

    def setup(self, context: SetupContext) -> Iterator[Step]:
        folder = context.text("folder")
        yield note(
            Localized(
                f"No set-up needed: Relay watches {folder} and scans it every scan_every. Write "
                "under a hidden name, or a name ending in .part or .tmp, then rename the file",
                f"无需设置：Relay 监视 {folder} 并定期扫描。"
                "请先以隐藏名称或 .part、.tmp 结尾写入，再改名",
            )
        )

    def ready(self) -> str:
        try:
            with os.scandir(self.settings.folder) as listing:
                return f"lists the folder, {sum(1 for _ in listing)} entries"
        except OSError as error:
            raise _translate(error, str(self.settings.folder.name)) from error

    def _require_folder(self) -> None:
        """Raise TemporaryFailure if the folder itself is missing: no file was deleted then."""
        if not self.settings.folder.is_dir():
            raise TemporaryFailure(
                "local.no_folder",
                Localized("The watched folder does not exist", "被监视的文件夹不存在"),
                Localized(
                    "Relay retries; check `folder` and whether its disk is mounted.",
                    "Relay 会重试；请检查 folder 设置及磁盘是否已挂载。",
                ),
            )

    def _event(self, file: File, type_: str) -> Event:
        info = _info(file)
        ref = ObjectRef(self.name, file.key, etag=file.etag, size=file.size)
        return Event(ref, f"file:{file.etag}", type_, info.modified, f"changed:{file.changed:020d}")


def _info(file: File) -> ObjectInfo:
    try:
        modified = datetime.fromtimestamp(file.modified / 10**9, UTC)
    except (OverflowError, ValueError):  # copying tools can set any time
        modified = None
    return ObjectInfo(size=file.size, etag=file.etag, modified=modified)


def _superseded(key: str) -> Superseded:
    return Superseded(
        "object.superseded",
        Localized(f"{key} changed since it was announced", f"{key} 在通知之后已被更改"),
    )


def _translate(error: OSError, key: str) -> RelayError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return Gone("object.gone", Localized(f"{key} does not exist any more", f"{key} 已不存在"))
    if error.errno in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
        return PermanentFailure(
            "local.no_file",
            Localized(f"{key} is not a regular file", f"{key} 不是普通文件"),
            Localized(
                "Links are not followed: copy the file itself.", "不跟随链接：请放入文件本身。"
            ),
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermanentFailure(
            "local.denied",
            Localized(f"No permission to read {key}", f"没有读取 {key} 的权限"),
            Localized(
                "Grant Relay's user read access, then retrigger.",
                "请授予 Relay 用户读取权限后重新触发。",
            ),
        )
    return TemporaryFailure(
        "local.unreadable",
        Localized(
            f"{key} cannot be read ({error.strerror})", f"无法读取 {key}（{error.strerror}）"
        ),
        Localized(
            "Relay retries; check the disk or the mount.", "Relay 会重试；请检查磁盘或挂载。"
        ),
    )
