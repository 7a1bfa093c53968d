"""The few fields of a foreign record that we need, read tolerantly; every error names its field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay.errors import Unreadable
from relay.model import Localized

LONGEST = 2048
"""Bytes of UTF-8 in a text that we keep: twice the longest key of any store, and less than an
index of a database takes."""

LARGEST = 2**63 - 1


def find(record: Mapping[str, Any], *path: str) -> Any:
    """What stands at the path; None when it, or something on the way to it, is absent or null.

    Unreadable when something on the way is no object.
    """
    here: Any = record
    for depth, name in enumerate(path):
        if not isinstance(here, Mapping):
            raise wrong_field(path[:depth], "should be an object", "应为对象")
        here = here.get(name)
        if here is None:
            return None
    return here


def text(record: Mapping[str, Any], *path: str) -> str:
    """A text that must be there and must not be empty."""
    found = text_or_none(record, *path)
    if found is None:
        raise Unreadable(
            "record.missing",
            Localized(f"The field {'.'.join(path)} is missing", f"缺少字段 {'.'.join(path)}"),
        )
    return found


def text_or_none(record: Mapping[str, Any], *path: str) -> str | None:
    """A text, or None when it is absent, null or empty.

    Unreadable when it is something else, longer than LONGEST, or cannot be stored as text.
    """
    found = find(record, *path)
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise wrong_field(path, "should be a text", "应为文本")
    return check_text(found, *path)


def check_text(found: str, *path: str) -> str:
    """The same text, when every database and every client can hold it; else Unreadable."""
    try:
        length = len(found.encode())
    except UnicodeEncodeError:
        raise wrong_field(path, "is not valid Unicode", "不是有效的 Unicode") from None
    if "\0" in found:
        raise wrong_field(path, "holds a NUL character", "包含 NUL 字符")
    if length > LONGEST:
        raise wrong_field(path, f"is longer than {LONGEST} bytes", f"长度超过 {LONGEST} 字节")
    return found


def count_or_none(record: Mapping[str, Any], *path: str) -> int | None:
    """A number of bytes, as a number or as digits in a text; None when absent, null or empty."""
    found = find(record, *path)
    if found is None or found == "":
        return None
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.isdecimal():
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= LARGEST:
        raise wrong_field(path, "should be a number of bytes", "应为字节数")
    return found


def count(record: Mapping[str, Any], *path: str) -> int:
    """A number that must be there."""
    found = count_or_none(record, *path)
    if found is None:
        raise Unreadable(
            "record.missing",
            Localized(f"The field {'.'.join(path)} is missing", f"缺少字段 {'.'.join(path)}"),
        )
    return found


def time_or_none(record: Mapping[str, Any], *path: str) -> datetime | None:
    """An ISO 8601 time in UTC; None when absent or not to be made out: a time decides too little
    to lose an upload over. Digits beyond the microsecond are cut; without a zone it is UTC."""
    found = find(record, *path)
    if not isinstance(found, str):
        return None
    try:
        read = datetime.fromisoformat(found.strip().upper())
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def epoch_or_none(record: Mapping[str, Any], *path: str, per_second: int = 1) -> datetime | None:
    """The same of a number since 1970, or its digits in a text; `per_second`: 1000 for ms."""
    found = find(record, *path)
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.isdecimal():
        found = int(found)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    try:
        return datetime.fromtimestamp(found / per_second, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def wrong_field(path: tuple[str, ...], en: str, zh: str) -> Unreadable:
    """The error of a field that is there but is not what it should be."""
    where = ".".join(path) or "record"
    return Unreadable(
        "record.wrong_type", Localized(f"The field {where} {en}", f"字段 {where} {zh}")
    )
