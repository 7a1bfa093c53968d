"""A file on this machine, read as a handler's stream is."""

from __future__ import annotations

from pathlib import Path

from relay.model import ObjectInfo


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
