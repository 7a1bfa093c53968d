"""A file on this machine, as the archive that it is, and as what it would be imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from relay.app.relay import Relay
from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import ArchiveReport, inspect
from relay.errors import ConfigError
from relay.model import Event, ObjectInfo, ObjectRef

Command = TypeVar("Command", bound=Callable[..., Any])

AS_WHAT = (
    click.option("--target", help="Where a FILE.zip goes: the name of a [targets.NAME] table."),
    click.option("--func-name", default="{function}", show_default=True, help="For a FILE.zip."),
    click.option("--package", default="default", show_default=True, help="For a FILE.zip."),
    click.option(
        "--on-conflict",
        type=click.Choice(["skip", "fail", "update", "rename"]),
        default="skip",
        show_default=True,
        help="For a FILE.zip.",
    ),
)


def as_what(command: Command) -> Command:
    """The options that say where a file goes, which a route says for an object."""
    for option in reversed(AS_WHAT):
        command = option(command)
    return command


class FileStream:
    """The bytes [start, end) of a file, as handler.ObjectStream promises."""

    def __init__(self, path: Path, start: int, end: int | None) -> None:
        self.info = ObjectInfo(path.stat().st_size)
        self._left = (self.info.size if end is None else end) - start
        self._file = path.open("rb")
        self._file.seek(start)

    def read(self, size: int, /) -> bytes:
        part = self._file.read(min(size, self._left))
        self._left -= len(part)
        return part

    def close(self) -> None:
        self._file.close()


def look(path: Path) -> ArchiveReport:
    """The report on a file; click's UsageError when it cannot be read."""
    try:
        with path.open("rb") as file:

            def read(start: int, end: int) -> bytes:
                file.seek(start)
                return file.read(end - start)

            return inspect(path.stat().st_size, read)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None


def archive_in(path: Path) -> CheckedArchive:
    """The file as an archive that was looked at; errors as of `look`."""
    report = look(path)
    return CheckedArchive(
        path.name, report.size, report, lambda start, end: FileStream(path, start, end)
    )


def event_of(path: Path) -> Event:
    """An event as its upload would have been, for the names that are made of it; never recorded."""
    return Event(ObjectRef("", path.name), "", "file")


def refuse_unknown(relay: Relay, target: str) -> None:
    """Raises ConfigError unless the configuration has that target."""
    if target not in relay.plugins.targets:
        known = ", ".join(relay.plugins.targets) or "none"
        raise ConfigError("targets", f"there is no {target}", f"Known: {known}.")
