"""FolderWatch: a folder as a queue that tells of each file once it is whole."""

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

# watchdog warns, in thousands of characters, whenever a new folder is heard of twice: harmless.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)

QUIET = 0.2
"""Seconds after a file was closed or renamed until it counts: some tools reopen it at once."""

MOST = 100
"""Messages in one receive."""

SLACK = 2 * 10**9
"""Nanoseconds by which a file system's clock may lag behind ours."""

_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
_HEARD: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]


class _Ear(FileSystemEventHandler):
    """What the observer's thread heard and the receiving thread has not read yet."""

    def __init__(self) -> None:
        self.woken = threading.Condition()
        self.count = 0
        self.last = 0.0
        self._touched: dict[str, bool] = {}

    def on_any_event(self, event: FileSystemEvent) -> None:
        with self.woken:
            self.count += 1
            self.last = time.monotonic()
            if isinstance(event, FileClosedEvent):
                self._touched[os.fsdecode(event.src_path)] = True
            elif isinstance(event, FileMovedEvent):
                self._touched[os.fsdecode(event.dest_path)] = True
            elif isinstance(event, FileCreatedEvent):
                self._touched[os.fsdecode(event.src_path)] = False
            self.woken.notify()

    def wait(self, seconds: float) -> None:
        with self.woken:
            if not self._touched:
                self.woken.wait(seconds)

    def taken(self) -> dict[str, bool]:
        """Path -> whether its writer said that it is done (closed it, renamed it)."""
        with self.woken:
            touched, self._touched = self._touched, {}
        return touched


class FolderWatch:
    """A watch over one folder, and all below it. What was not deleted is received again.

    The kernel drops events when more come at once than its queue takes. A full queue is still
    read to its end: so after as many events as could have filled it, the folder is walked for
    what changed and was not heard of.
    """

    def __init__(self, source: str, folder: Path, settle: float) -> None:
        """`settle`: seconds for which a file must stay the same when nobody says it is done."""
        self._source = source
        self._folder = folder
        self._settle = settle
        self._candidates = SettlingFiles(settle)
        self._received: dict[str, QueueMessage] = {}
        self._burst = _queue_limit() // 4  # an event of ours may stand for two of the kernel's
        self._walked = time.time_ns()
        self._ear = _Ear()
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        with suppress(TemporaryFailure):
            self._watch()

    def receive(self, wait: float) -> list[QueueMessage]:
        """The files that became whole. TemporaryFailure: the folder is not there."""
        until = time.monotonic() + wait
        while True:
            self._watch()
            now = time.monotonic()
            self._notice(now)
            for file in self._candidates.whole(lambda key: look(self._folder, key), now):
                self._tell(file)
            if self._received or now >= until:
                return list(self._received.values())[:MOST]
            self._ear.wait(max(0.01, min(until, self._due(now)) - now))

    def delete(self, messages: Iterable[QueueMessage]) -> None:
        for message in messages:
            self._received.pop(message.receipt, None)

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def _watch(self) -> None:
        """Watches the folder, anew when another one took its place: a mount, a replacement."""
        try:
            seen = self._folder.stat()
        except OSError as error:
            raise TemporaryFailure(
                "local.no_folder",
                Localized(
                    f"The folder of sources.{self._source} is not there",
                    f"sources.{self._source} 的文件夹不存在",
                ),
                Localized(
                    "Create or mount it; Relay keeps looking.", "请创建或挂载；Relay 会继续检查。"
                ),
            ) from error
        identity = (seen.st_dev, seen.st_ino)
        if identity == self._watched and not self._went_deaf():
            return
        again = self._watched is not None
        self._watched = identity
        self.close()
        self._listen()
        if again:
            self._walk(time.monotonic())

    def _went_deaf(self) -> bool:
        emitters = self._observer.emitters if self._observer else ()
        return not all(emitter.is_alive() for emitter in emitters)

    def _listen(self) -> None:
        observer = None
        try:
            observer = Observer()
            observer.schedule(self._ear, str(self._folder), recursive=True, event_filter=_HEARD)
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

    def _notice(self, now: float) -> None:
        for path, done in self._ear.taken().items():
            key = key_of(os.path.relpath(path, self._folder))
            self._candidates.touch(key, min(QUIET, self._settle) if done else self._settle, now)
        if self._ear.count >= self._burst and now - self._ear.last > QUIET:
            self._walk(now)

    def _walk(self, now: float) -> None:
        since, self._walked = self._walked - SLACK, time.time_ns()
        self._ear.count = 0
        for file in walk(self._folder):
            if file.changed >= since:
                self._candidates.suspect(file.key, now)

    def _due(self, now: float) -> float:
        burst = now + QUIET if self._ear.count >= self._burst else now + 60
        due = self._candidates.due()
        return burst if due is None else min(burst, due)

    def _tell(self, file: File) -> None:
        body = json.dumps({"bucket": self._source, **asdict(file)}).encode()
        receipt = f"{file.etag} {file.key}"
        self._received[receipt] = QueueMessage(body, receipt)


def _queue_limit() -> int:
    with suppress(OSError, ValueError):
        return int(_LIMIT.read_text())
    return 16384
