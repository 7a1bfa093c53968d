"""Reads a JSON object of any size in constant memory: long strings are written to sinks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

import pybase64

from relay.model import Json

CHUNK = 1 << 18
MAX_FIELD = 1 << 16
"""Maximum size of a value without a sink. The longest documented value has 4 KB."""

_SPACE = b" \t\r\n"
_ESCAPES = {
    ord(escaped): plain.encode()
    for escaped, plain in zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True)
}


class Malformed(Exception):
    """The body is not a JSON object."""


class NotBase64(Exception):
    """Invalid base64: a wrong character, length or padding."""


class TooLong(Exception):
    """More bytes than the limit of the sink."""


class Base64Sink:
    """Decodes base64 into `file` as it arrives; `size` counts the decoded bytes."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._carry = b""
        self._padded = False
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Decode a piece. Raises NotBase64, or TooLong beyond the limit."""
        text = self._carry + piece
        complete = len(text) - len(text) % 4
        self._carry = text[complete:]
        if complete:
            self._decode(text[:complete])

    def _decode(self, text: bytes) -> None:
        padding = text.find(b"=")
        if self._padded or 0 <= padding < len(text) - 2:
            raise NotBase64
        self._padded = padding >= 0
        try:
            decoded = pybase64.b64decode(text, validate=True)
        except ValueError as error:
            raise NotBase64 from error
        self.size += len(decoded)
        if self.size > self._limit:
            raise TooLong
        self._file.write(decoded)

    def close(self) -> None:
        if self._carry:
            raise NotBase64


def read_object(read: Callable[[int], bytes], sinks: Mapping[str, Base64Sink]) -> Json:
    """Return the fields of the object; fields that were written to a sink are True.

    The keys of `sinks` are dotted paths of fields: `file_code`, `func_code.file`. Raises Malformed
    and the errors of the sinks.
    """
    scanner = _Scanner(read, sinks)
    fields = scanner.fields("")
    scanner.end()
    return fields


class _Scanner:
    def __init__(self, read: Callable[[int], bytes], sinks: Mapping[str, Base64Sink]) -> None:
        self._read = read
        self._sinks = sinks
        self._buffer = b""
        self._ended = False
        self._decoder = json.JSONDecoder(parse_constant=_malformed)

    def fields(self, prefix: str) -> Json:
        fields: Json = {}
        self._take(b"{")
        if self._peek() == b"}":
            self._take(b"}")
            return fields
        while True:
            name = self._value()
            if not isinstance(name, str):
                raise Malformed
            self._take(b":")
            fields[name] = self._field(prefix + name, seen=name in fields)
            if self._peek() != b",":
                self._take(b"}")
                return fields
            self._take(b",")

    def end(self) -> None:
        if self._peek():
            raise Malformed

    def _field(self, path: str, *, seen: bool) -> object:
        first = self._peek()
        sink = self._sinks.get(path)
        if sink is not None and first == b'"':
            if seen:
                raise Malformed
            self._string(sink)
            return True
        if first == b"{" and any(name.startswith(path + ".") for name in self._sinks):
            return self.fields(path + ".")
        return self._value()

    def _string(self, sink: Base64Sink) -> None:
        self._take(b'"')
        while True:
            self._fill(1)
            end = self._buffer.find(b'"')
            escape = self._buffer.find(b"\\", 0, end if end >= 0 else None)
            stop = escape if escape >= 0 else end if end >= 0 else len(self._buffer)
            if stop:
                sink.write(self._buffer[:stop])
                self._buffer = self._buffer[stop:]
            if escape >= 0:
                sink.write(self._escape())
            elif end >= 0:
                self._take(b'"')
                sink.close()
                return

    def _escape(self) -> bytes:
        self._fill(6)
        kind = self._buffer[1] if len(self._buffer) > 1 else 0
        if kind in _ESCAPES:
            self._buffer = self._buffer[2:]
            return _ESCAPES[kind]
        digits = self._buffer[2:6]
        try:
            if kind != ord("u") or len(digits) != 4 or not digits.isalnum():
                raise Malformed
            character = chr(int(digits, 16))
        except ValueError:
            raise Malformed from None
        self._buffer = self._buffer[6:]
        return character.encode("utf-8", "surrogatepass")

    def _value(self) -> Any:
        self._peek()
        self._fill(MAX_FIELD)
        text = self._buffer[:MAX_FIELD].decode("utf-8", "surrogateescape")
        try:
            value, end = self._decoder.raw_decode(text)
            used = len(text[:end].encode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Malformed from error
        self._buffer = self._buffer[used:]
        return value

    def _peek(self) -> bytes:
        """Return the next character that is not a space, or b"" at the end of the body."""
        while True:
            self._buffer = self._buffer.lstrip(_SPACE)
            if self._buffer or self._ended:
                return self._buffer[:1]
            self._load()

    def _take(self, character: bytes) -> None:
        if self._peek() != character:
            raise Malformed
        self._buffer = self._buffer[1:]

    def _fill(self, wanted: int) -> None:
        while len(self._buffer) < wanted and not self._ended:
            self._load()
        if not self._buffer:
            raise Malformed

    def _load(self) -> None:
        chunk = self._read(CHUNK)
        self._ended = not chunk
        self._buffer += chunk


def _malformed(_: str) -> NoReturn:
    raise Malformed
