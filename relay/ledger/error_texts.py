"""What goes wrong with a database, in our words: no SQLAlchemy error leaves the store."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from relay.ledger.errors import LedgerUnavailable
from relay.model import Localized


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise in_words(str(error.orig)) from error
    except StatementError as error:
        # A value that cannot be bound is a bug of ours, not trouble with the database.
        raise (error.orig or error) from error
    except SQLAlchemyError as error:
        raise in_words(type(error).__name__) from error
    except sqlite3.Error as error:
        raise in_words(str(error)) from error


_UNMIGRATED = ("unmigrated", "it has no tables yet: run `relay migrate`", "尚未建表")
_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("locked", "locked", "another process holds it", "被其他进程占用"),
    ("lock timeout", "locked", "another process holds it", "被其他进程占用"),
    ("disk is full", "full", "the disk is full", "磁盘已满"),
    ("readonly", "readonly", "it may only be read", "只读，无法写入"),
    ("no such table", *_UNMIGRATED),
    ('relation "[^"]*" does not exist', *_UNMIGRATED),
)


def in_words(said: str) -> LedgerUnavailable:
    for sign, code, en, zh in _WORDS:
        if re.search(sign, said):
            return unavailable(code, en, zh)
    short = said.partition("\n")[0][:200]
    return unavailable("unavailable", short, short)


def unavailable(code: str, en: str, zh: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"store.{code}",
        Localized(f"The database cannot be used now: {en}", f"数据库暂不可用：{zh}"),
        Localized("Nothing was changed; ask again.", "未做任何更改，请稍后重试。"),
        retry_after=timedelta(seconds=5),
    )
