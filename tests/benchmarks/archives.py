"""Creates archives for benchmarks: exports of any size, stored or deflated, valid or invalid."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

from relay.testing.sandbox.exports import write_export

MIB = 1024 * 1024
TEXT = MIB
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


def write_stored(path: Path, size: int) -> None:
    """Write an export of about `size` bytes as the console does, with a stored code entry."""
    write_export(path, "hello", code_size=size - min(4096, size // 2))


def write_deflated(path: Path, size: int) -> None:
    """Write an export of about `size` bytes with a deflated code entry: text, about 2/5 in size."""
    text = _text()
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    block = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
    count = max(1, size // len(block))
    crc = 0
    for _ in range(count):
        crc = zlib.crc32(text, crc)
    code = (b"index.zip", 8, crc, count * len(block) + 2, count * len(text))
    config = (b"hello.yaml", 0, zlib.crc32(YAML), len(YAML), len(YAML))
    with path.open("wb") as file:
        file.write(_local(*code))
        for _ in range(count):
            file.write(block)
        file.write(b"\x03\x00")  # an empty last block
        second = file.tell()
        file.write(_local(*config) + YAML)
        start = file.tell()
        directory = _central(0, *code) + _central(second, *config)
        file.write(directory)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), start, 0))


def _text() -> bytes:
    chance = random.Random(1)
    letters = "etaoinshrdlucmfw"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(8000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return " ".join(chance.choices(words, weights, k=TEXT // 5)).encode()[:TEXT]


def _local(name: bytes, method: int, crc: int, packed: int, size: int) -> bytes:
    fields = (20, 0, method, 0, 0x21, crc, packed, size, len(name), 0)
    return struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + name


def _central(offset: int, name: bytes, method: int, crc: int, packed: int, size: int) -> bytes:
    fields = (3 << 8 | 20, 20, 0, method, 0, 0x21, crc, packed, size, len(name), 0)
    location = (0, 0, 0, 0o100644 << 16, offset)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields, *location) + name


def _leading_out(content: bytes) -> bytes:
    return content.replace(b"hello.yaml", b"../../evil")


def _cut(content: bytes) -> bytes:
    return content[:-1000]


def _without_any_end(content: bytes) -> bytes:
    return content[:-200_000].replace(b"PK", b"KP")


def _encrypted(content: bytes) -> bytes:
    at = content.rindex(b"PK\1\2")
    return content[: at + 8] + b"\1\0" + content[at + 10 :]


SPOILED = {
    "a name leads out": (_leading_out, "archive.name_parent"),
    "the upload was cut": (_cut, "archive.truncated"),
    "no zip at all": (_without_any_end, "archive.not_a_zip"),
    "an entry is encrypted": (_encrypted, "archive.encrypted"),
}
"""Defect -> (function that spoils a valid archive, code of the finding)."""
