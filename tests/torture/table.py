"""One table: id, what, engine, runs, figures, when, pass or fail, and what was broken.

A long run of some scenarios replaces their rows in latest.md and leaves the others as they are: an
hour's run may be made in parts.
"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tests.torture.scenario import Result

HEAD = (
    "| id | what | engine | runs | figures | seconds | when (UTC) | |\n"
    "|---|---|---|---|---|---|---|---|\n"
)
_ROW = re.compile(
    r"(?m)^\| (?P<id>[^|\n]+) \| [^|\n]+ \| (?P<engine>\w+) \| \d+ \|.* \W*(pass|fail)\W* \|$"
)


def printed(result: Result) -> str:
    """One line as soon as it is known, and the broken promises below it."""
    verdict = "FAIL" if result.broken else "pass"
    line = f"{verdict}  {result.id:38} {result.engine:10} {result.seconds:7.1f} s  {_told(result)}"
    return "\n".join([line, *(f"      {one}" for one in result.broken)])


def written(results: Sequence[Result], title: str, before: str = "") -> str:
    """The table as Markdown; `before` is the one whose other rows stay."""
    rows = {(m["id"], m["engine"]): m[0] + "\n" for m in _ROW.finditer(before)}
    rows |= {(one.id, one.engine): _row(one) for one in results}
    failed = sum("**fail**" in row for row in rows.values())
    head = f"{title}: {len(rows) - failed} passed, {failed} failed.\n{_machine()}\n\n"
    ordered = (row for _, row in sorted(rows.items()))
    return "".join([head, HEAD, *ordered])


def latest(path: Path, results: Sequence[Result]) -> str:
    """The table of the file with these results in it."""
    before = path.read_text() if path.exists() else ""
    return written(results, "`make torture`, by hand", before)


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite "
        f"{sqlite3.sqlite_version}; others may have used the cores too. Children are forked from a "
        "process that has imported relay: a cold start takes one to two seconds more than "
        "these figures."
    )


def _row(one: Result) -> str:
    verdict = "**fail**" if one.broken else "pass"
    told = "; ".join([_told(one), *map(_plain, one.broken[:3])])
    return (
        f"| {one.id} | {one.what} | {one.engine} | {one.runs} | {told} | "
        f"{one.seconds:.0f} | {one.ended:%Y-%m-%d %H:%M} | {verdict} |\n"
    )


def _told(one: Result) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in one.figures.items())
    return figures.replace("|", "/")


def _plain(words: str) -> str:
    return words.replace("\n", " ").replace("|", "/")[:300]
