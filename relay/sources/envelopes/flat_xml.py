"""Reader of a small, flat XML document from an untrusted sender."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat


def read_children(body: bytes, root: str) -> Mapping[str, str]:
    """Return the text of each child of the root element; the last wins for equal names.

    Empty when the body is not XML in UTF-8, has another root, nests deeper, or declares a document
    type. Document types are refused because of entities: they can expand without limit or read
    local files.
    """
    reader = _Reader(root)
    try:
        reader.read(body)
    except (expat.ExpatError, _RefusedError):
        return {}
    return reader.children


class _RefusedError(Exception):
    pass


class _Reader:
    def __init__(self, root: str) -> None:
        self.children: dict[str, str] = {}
        self._root = root
        self._path: list[str] = []
        self._parts: list[str] = []

    def read(self, body: bytes) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(body, True)

    def _refuse(self, *_: object) -> NoReturn:
        raise _RefusedError

    def _start(self, name: str, _attributes: object) -> None:
        self._path.append(name)
        self._parts.clear()
        if self._path[0] != self._root or len(self._path) > 2:
            raise _RefusedError

    def _text(self, text: str) -> None:
        self._parts.append(text)

    def _end(self, name: str) -> None:
        if len(self._path) == 2:
            self.children[name] = "".join(self._parts)
        self._path.pop()
