"""FolderWatch: a queue of notifications for the complete files of a folder."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from relay.errors import TemporaryFailure
from relay.handlers.local.folder import File, key_of, look, walk
from relay.handlers.local.settling import SettlingFiles
from relay.model import Localized
from relay.sources.contract import QueueMessage

log = logging.getLogger(__name__)

# Harmless: watchdog logs a very long warning if it receives two events for a new folder.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)

QUIET = 0.2
"""Seconds between close or rename and completion: some tools reopen the file at once."""

BATCH = 100
"""Messages per call of `receive`."""

SLACK = 2 * 10**9
"""Nanoseconds of tolerated lag of the file system's clock."""

_QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]


class _EventCollector(FileSystemEventHandler):
    """Collects events in the observer's thread for the receiving thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0
        self.last = 0.0
        self._touched: dict[str, bool] = {}

    def on_any_event(self, event: FileSystemEvent) -> None:
        with self._changed:
            self.count += 1
            self.last = time.monotonic()
            if isinstance(event, FileClosedEvent):
                self._touched[os.fsdecode(event.src_path)] = True
            elif isinstance(event, FileMovedEvent):
                self._touched[os.fsdecode(event.dest_path)] = True
            elif isinstance(event, FileCreatedEvent):
                self._touched[os.fsdecode(event.src_path)] = False
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        with self._changed:
            if not self._touched:
                self._changed.wait(seconds)

    def take(self) -> dict[str, bool]:
        """Return and reset: path -> whether the writer finished (closed or renamed the file)."""
        with self._changed:
            touched, self._touched = self._touched, {}
        return touched


class FolderWatch:
    """Watches a folder and all subfolders. Messages that are not deleted are received again.

    The kernel drops events if the queue is full. After as many events as could have filled the
    queue, the folder is scanned for changes without an event.
    """

    def __init__(self, source: str, folder: Path, settle: float) -> None:
        """`settle`: seconds without a change that complete a file for which no close event came."""
        self._source = source
        self._folder = folder
        self._settle = settle
        self._files = SettlingFiles(settle)
        self._received: dict[str, QueueMessage] = {}
        self._burst = _queue_limit() // 4  # an event of watchdog can stand for two of the kernel
        self._scanned = time.time_ns()
        self._collector = _EventCollector()
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        with suppress(TemporaryFailure):
            self._watch()

    def receive(self, wait: float) -> list[QueueMessage]:
        """The files that became complete. TemporaryFailure if the folder is missing."""
        until = time.monotonic() + wait
        while True:
            self._watch()
            now = time.monotonic()
            self._process_events(now)
            for file in self._files.take_finished(lambda key: look(self._folder, key), now):
                self._add_message(file)
            if self._received or now >= until:
                return list(self._received.values())[:BATCH]
            self._collector.wait(max(0.01, min(until, self._due(now)) - now))

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        for message in messages:
            self._received.pop(message.receipt, None)

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def _watch(self) -> None:
        """Start watching; start again if the folder was mounted or replaced meanwhile."""
        try:
            status = self._folder.stat()
        except OSError as error:
            raise TemporaryFailure(
                "local.no_folder",
                Localized(
                    f"The folder of sources.{self._source} does not exist",
                    f"sources.{self._source} 的文件夹不存在",
                ),
                Localized(
                    "Create or mount it; Relay keeps checking.", "请创建或挂载；Relay 会继续检查。"
                ),
            ) from error
        identity = (status.st_dev, status.st_ino)
        if identity == self._watched and self._is_alive():
            return
        is_restart = self._watched is not None
        self._watched = identity
        self.close()
        self._start_observer()
        if is_restart:
            self._scan(time.monotonic())

    def _is_alive(self) -> bool:
        emitters = self._observer.emitters if self._observer else ()
        return all(emitter.is_alive() for emitter in emitters)

    def _start_observer(self) -> None:
        observer = None
        try:
            observer = Observer()
            observer.schedule(
                self._collector, str(self._folder), recursive=True, event_filter=_EVENTS
            )
            observer.start()
        except OSError as error:
            log.warning(
                "folder not watched, only scanned: the system's limit of watches is reached",
                extra={"source": self._source, "error": error.strerror},
            )
            if observer is not None:
                observer.stop()
            return
        self._observer = observer

    def _process_events(self, now: float) -> None:
        for path, is_finished in self._collector.take().items():
            key = key_of(os.path.relpath(path, self._folder))
            self._files.touch(key, min(QUIET, self._settle) if is_finished else self._settle, now)
        if self._collector.count >= self._burst and now - self._collector.last > QUIET:
            self._scan(now)

    def _scan(self, now: float) -> None:
        since, self._scanned = self._scanned - SLACK, time.time_ns()
        self._collector.count = 0
        for file in walk(self._folder):
            if file.changed >= since:
                self._files.suspect(file.key, now)

    def _due(self, now: float) -> float:
        burst = now + QUIET if self._collector.count >= self._burst else now + 60
        due = self._files.due()
        return burst if due is None else min(burst, due)

    def _add_message(self, file: File) -> None:
        body = json.dumps({"bucket": self._source, **asdict(file)}).encode()
        receipt = f"{file.etag} {file.key}"
        self._received[receipt] = QueueMessage(body, receipt)


def _queue_limit() -> int:
    with suppress(OSError, ValueError):
        return int(_QUEUE_LIMIT.read_text())
    return 16384
