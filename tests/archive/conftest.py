"""Builds zips with arbitrary header fields, and a stored object that counts reads."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import inspect
from relay.errors import TemporaryFailure
from relay.model import ObjectInfo

YAML = b"""\
HcCrmTemplateVersion: v1
Resources:
  hello:
    Type: HC::Serverless::Function
    Properties:
      Handler: index.handler
      Runtime: Python3.9
      CodeType: zip
      CodeFileName: index.zip
      MemorySize: 128
      Timeout: 3
"""


def deflate(content, level=9):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


@dataclass
class File:
    """An entry. `local` and `central` override header fields, `packed` the compressed data."""

    name: str | bytes = "a.txt"
    content: bytes = b"content"
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    packed: bytes | None = None
    local: dict = field(default_factory=dict)
    central: dict = field(default_factory=dict)
    local_extra: bytes = b""
    central_extra: bytes = b""
    descriptor: bytes | str | None = None
    before: bytes = b""

    @property
    def raw(self):
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def data(self):
        if self.packed is not None:
            return self.packed
        return deflate(self.content) if self.method == 8 else self.content

    @property
    def fields(self):
        return {
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.content),
            "compressed": len(self.data),
            "size": len(self.content),
            "name": self.raw,
        }

    def local_part(self):
        blank = {"crc": 0, "compressed": 0, "size": 0} if self.flags & 8 else {}
        f = {**self.fields, **blank, **self.local}
        numbers = (20, f["flags"], f["method"], 0, 0x21, f["crc"], f["compressed"], f["size"])
        header = struct.pack(
            "<4s5H3L2H", b"PK\3\4", *numbers, len(f["name"]), len(self.local_extra)
        )
        return header + f["name"] + self.local_extra + self.data + self.data_descriptor()

    def data_descriptor(self):
        if isinstance(self.descriptor, bytes):
            return self.descriptor
        if not self.flags & 8:
            return b""
        f = self.fields
        layout = {"plain": "<3L", "wide": "<L2Q"}.get(self.descriptor, "<3L")
        signature = b"" if self.descriptor in ("plain", "wide") else b"PK\7\x08"
        return signature + struct.pack(layout, f["crc"], f["compressed"], f["size"])

    def central_part(self, offset):
        f = {
            **self.fields,
            "offset": offset,
            "disk": 0,
            "made": 3 << 8 | 20,
            "needed": 20,
            **self.central,
        }
        numbers = (f["made"], f["needed"], f["flags"], f["method"], 0, 0x21)
        sizes = (f["crc"], f["compressed"], f["size"], len(f["name"]), len(self.central_extra))
        places = (0, f["disk"], 0, self.mode << 16, f["offset"])
        header = struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers, *sizes, *places)
        return header + f["name"] + self.central_extra


@dataclass
class Zip:
    """An archive. `end` overrides fields of the end record, `zip64` those of the ZIP64 records."""

    files: list[File]
    before_directory: bytes = b""
    after_directory: bytes = b""
    comment: bytes = b""
    end: dict = field(default_factory=dict)
    zip64: dict | None = None

    def bytes(self):
        body, directory = b"", b""
        for file in self.files:
            body += file.before
            directory += file.central_part(len(body))
            body += file.local_part()
        body += self.before_directory
        numbers = {
            "disk": 0,
            "directory_disk": 0,
            "here": len(self.files),
            "entries": len(self.files),
            "size": len(directory),
            "offset": len(body),
            "comment": len(self.comment),
        }
        zip64 = self.zip64_records(numbers, len(body) + len(directory) + len(self.after_directory))
        end = struct.pack("<4s4H2LH", b"PK\5\6", *{**numbers, **self.end}.values())
        return body + directory + self.after_directory + zip64 + end + self.comment

    def zip64_records(self, numbers, start):
        if self.zip64 is None:
            return b""
        f = {**numbers, "record": 44, "at": start, "located_disk": 0, "disks": 1, **self.zip64}
        places = (f["here"], f["entries"], f["size"], f["offset"])
        disks = (f["disk"], f["directory_disk"])
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", f["record"], 45, 45, *disks, *places)
        return record + struct.pack("<4sLQL", b"PK\6\7", f["located_disk"], f["at"], f["disks"])


class StoredObject:
    """A stored object that counts reads. At each offset in `cuts` a stream disconnects, once."""

    def __init__(self, content: bytes, size: int | None = None) -> None:
        self.content = content
        self.size = len(content) if size is None else size
        self.reads: list[tuple[int, int]] = []
        self.opened: list[int] = []
        self.cuts: list[int] = []
        self.still_open = 0

    def read(self, start: int, end: int) -> bytes:
        assert 0 <= start < end <= self.size
        self.reads.append((start, end))
        return self.content[start:end]

    def open(self, start: int, end: int | None) -> Stream:
        self.opened.append(start)
        self.still_open += 1
        return Stream(self, start, len(self.content) if end is None else end)

    @property
    def bytes_read(self) -> int:
        return sum(end - start for start, end in self.reads)

    def archive(self, **changes) -> CheckedArchive:
        report = inspect(self.size, self.read)
        open_ = changes.pop("open", self.open)
        return CheckedArchive(self.size, report, open_, **changes)


class Stream:
    def __init__(self, stored: StoredObject, start: int, end: int) -> None:
        self.info = ObjectInfo(stored.size)
        self._stored = stored
        self._file = io.BytesIO(stored.content[:end])
        self._file.seek(start)
        self._closed = False

    def read(self, size: int, /) -> bytes:
        here = self._file.tell()
        cut = next((at for at in self._stored.cuts if here <= at < here + size), None)
        if cut is None:
            return self._file.read(size)
        if cut > here:
            return self._file.read(cut - here)
        self._stored.cuts.remove(cut)
        raise TemporaryFailure("object.cut", "the connection broke")

    def close(self) -> None:
        assert not self._closed
        self._closed = True
        self._stored.still_open -= 1


def good_files(**changes):
    code = File("index.zip", b"code" * 1000)
    return [code, File("hello.yaml", YAML, **changes)]
