"""The errors that the ledger raises, and the translation of database errors into them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from relay.errors import PermanentFailure, TemporaryFailure
from relay.model import Localized


class LedgerUnavailable(TemporaryFailure):
    """The database cannot be read or written now; nothing was changed."""


class NotFound(PermanentFailure):
    """No record has this id."""


class Conflict(PermanentFailure):
    """The request contradicts the current state of the record."""


_KNOWN_ERRORS: tuple[tuple[str, str, str, str], ...] = (
    ("locked|lock timeout", "locked", "another process holds it", "被其他进程占用"),
    ("disk is full", "full", "the disk is full", "磁盘已满"),
    ("readonly", "readonly", "it is read-only", "只读，无法写入"),
    (
        'no such table|relation "[^"]*" does not exist',
        "unmigrated",
        "it has no tables yet: run `relay migrate`",
        "尚未建表",
    ),
)
"""A pattern of the driver's message, our error code, and the text in English and Chinese."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise LedgerUnavailable instead of any error of SQLAlchemy or SQLite."""
    try:
        yield
    except DBAPIError as error:
        raise translate(str(error.orig)) from error
    except StatementError as error:
        # A value that cannot be bound is a bug in Relay, not a database failure.
        raise (error.orig or error) from error
    except SQLAlchemyError as error:
        raise translate(type(error).__name__) from error
    except sqlite3.Error as error:
        raise translate(str(error)) from error


def translate(message: str) -> LedgerUnavailable:
    """Return the error for a message of the database driver."""
    for pattern, code, en, zh in _KNOWN_ERRORS:
        if re.search(pattern, message):
            return unavailable(code, en, zh)
    first_line = message.partition("\n")[0][:200]
    return unavailable("unavailable", first_line, first_line)


def unavailable(code: str, en: str, zh: str) -> LedgerUnavailable:
    """Return a LedgerUnavailable with the code `store.<code>` and the reason in two languages."""
    return LedgerUnavailable(
        f"store.{code}",
        Localized(f"The database cannot be used now: {en}", f"数据库暂不可用：{zh}"),
        Localized("Nothing was changed; try again.", "未做任何更改，请稍后重试。"),
        retry_after=timedelta(seconds=5),
    )
