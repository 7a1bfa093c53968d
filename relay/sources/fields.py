"""Tolerant reading of the fields of a foreign record; each error names the field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay.errors import Unreadable
from relay.model import Localized

MAX_BYTES = 2048
"""The longest text in UTF-8: twice the longest key of any storage, and short enough for a database
index."""

MAX_COUNT = 2**63 - 1


def find(record: Mapping[str, Any], *path: str) -> Any:
    """Return the value at the path; None when it or a parent is absent or null.

    Unreadable when a parent is not an object.
    """
    value: Any = record
    for depth, name in enumerate(path):
        if not isinstance(value, Mapping):
            raise wrong_field(path[:depth], "should be an object", "应为对象")
        value = value.get(name)
        if value is None:
            return None
    return value


def text(record: Mapping[str, Any], *path: str) -> str:
    """Return a required text, which must not be empty."""
    value = text_or_none(record, *path)
    if value is None:
        raise _missing_field(path)
    return value


def text_or_none(record: Mapping[str, Any], *path: str) -> str | None:
    """Return a text, or None when it is absent, null or empty.

    Unreadable for another type, a text longer than MAX_BYTES, or characters that cannot be stored.
    """
    value = find(record, *path)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise wrong_field(path, "should be a text", "应为文本")
    return check_text(value, *path)


def check_text(value: str, *path: str) -> str:
    """Return the text if every database and client can store it; else raise Unreadable."""
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise wrong_field(path, "is not valid Unicode", "不是有效的 Unicode") from None
    if "\0" in value:
        raise wrong_field(path, "contains a NUL character", "包含 NUL 字符")
    if length > MAX_BYTES:
        raise wrong_field(path, f"is longer than {MAX_BYTES} bytes", f"长度超过 {MAX_BYTES} 字节")
    return value


def count_or_none(record: Mapping[str, Any], *path: str) -> int | None:
    """Return a number of bytes, also from digits in a text; None when absent, null or empty."""
    value = find(record, *path)
    if value is None or value == "":
        return None
    value = _parse_digits(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise wrong_field(path, "should be a number of bytes", "应为字节数")
    return value


def count(record: Mapping[str, Any], *path: str) -> int:
    """Return a required number of bytes."""
    value = count_or_none(record, *path)
    if value is None:
        raise _missing_field(path)
    return value


def time_or_none(record: Mapping[str, Any], *path: str) -> datetime | None:
    """Return an ISO 8601 time in UTC; None when it is absent or invalid.

    An invalid time is no error: it is not important enough to lose an upload. Digits beyond the
    microsecond are cut. A time without a zone is UTC.
    """
    value = find(record, *path)
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip().upper())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def epoch_or_none(record: Mapping[str, Any], *path: str, per_second: int = 1) -> datetime | None:
    """Return the time of a number since 1970, also from digits in a text.

    `per_second`: 1000 for milliseconds.
    """
    value = _parse_digits(find(record, *path))
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value / per_second, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def wrong_field(path: tuple[str, ...], en: str, zh: str) -> Unreadable:
    """The error of a field with a wrong value."""
    field = ".".join(path) or "record"
    return Unreadable(
        "record.wrong_type", Localized(f"The field {field} {en}", f"字段 {field} {zh}")
    )


def _missing_field(path: tuple[str, ...]) -> Unreadable:
    field = ".".join(path)
    return Unreadable(
        "record.missing", Localized(f"The field {field} is missing", f"缺少字段 {field}")
    )


def _parse_digits(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdecimal():
        return int(value)
    return value
