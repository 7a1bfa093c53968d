"""A local zip file as an archive, and the options that a route would give an object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from relay.app.relay import Relay
from relay.archive.checked_archive import CheckedArchive
from relay.delivery.import_steps import inspect_archive
from relay.errors import ConfigError
from relay.model import Event, ObjectInfo, ObjectRef

Command = TypeVar("Command", bound=Callable[..., Any])

TARGET_OPTIONS = (
    click.option("--target", help="For a FILE.zip: the name of a [targets.NAME] table."),
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


def target_options(command: Command) -> Command:
    """Add the options that a route provides for an object, and a file needs."""
    for option in reversed(TARGET_OPTIONS):
        command = option(command)
    return command


class FileStream:
    """The bytes [start, end) of a file, as an ObjectStream."""

    def __init__(self, path: Path, start: int, end: int | None) -> None:
        self.info = ObjectInfo(path.stat().st_size)
        self._left = (self.info.size if end is None else end) - start
        self._file = path.open("rb")
        self._file.seek(start)

    def read(self, size: int, /) -> bytes:
        """See ObjectStream.read."""
        part = self._file.read(min(size, self._left))
        self._left -= len(part)
        return part

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_file(path: Path) -> CheckedArchive:
    """Inspect the file as an archive; click's UsageError if it cannot be read."""
    try:
        size = path.stat().st_size
        return inspect_archive(
            size, lambda start, end: FileStream(path, start, end), file_name=path.name
        )
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None


def file_event(path: Path) -> Event:
    """The event that an upload of the file would be; only names are derived from it."""
    return Event(ObjectRef("", path.name), "", "file")


def check_target(relay: Relay, target: str) -> None:
    """Raise ConfigError unless the target is configured."""
    if target not in relay.plugins.targets:
        known = ", ".join(relay.plugins.targets) or "none"
        raise ConfigError("targets", f"there is no {target}", f"Known: {known}.")
