"""A small XML document from outside: the texts of its root's children, and nothing else of XML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat


def read_children(body: bytes, root: str) -> Mapping[str, str]:
    """The text of each element right below the root; the last of those with the same name.

    Nothing when it is no XML in UTF-8, has another root, nests deeper, or declares a document
    type: entities come with it, and with them bombs and files of this machine.
    """
    reader = _Reader(root)
    try:
        reader.read(body)
    except (expat.ExpatError, _Unwanted):
        return {}
    return reader.found


class _Unwanted(Exception):
    pass


class _Reader:
    def __init__(self, root: str) -> None:
        self.found: dict[str, str] = {}
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
        raise _Unwanted

    def _start(self, name: str, _attributes: object) -> None:
        self._path.append(name)
        self._parts.clear()
        if self._path[0] != self._root or len(self._path) > 2:
            raise _Unwanted

    def _text(self, text: str) -> None:
        self._parts.append(text)

    def _end(self, name: str) -> None:
        if len(self._path) == 2:
            self.found[name] = "".join(self._parts)
        self._path.pop()
