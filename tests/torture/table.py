"""One table at the end: id, what, engine, runs, figures, pass or fail, and what was broken."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.torture.scenario import Result

HEAD = "| id | what | engine | runs | figures | s | |\n|---|---|---|---|---|---|---|\n"


def printed(result: Result) -> str:
    """One line as soon as it is known, and the broken promises below it."""
    verdict = "FAIL" if result.broken else "pass"
    line = f"{verdict}  {result.id:38} {result.engine:10} {result.seconds:7.1f} s  {_told(result)}"
    return "\n".join([line, *(f"      {one}" for one in result.broken)])


def written(results: Sequence[Result], *, quick: bool, imports: float) -> str:
    """The table as Markdown, with what it was measured on."""
    failed = sum(1 for one in results if one.broken)
    sweep = "The short sweep (CI)" if quick else "The long run"
    lines = [
        (
            f"{sweep} of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {len(results) - failed} passed, "
            f"{failed} failed. {os.cpu_count()} cores, Python {platform.python_version()}, "
            f"SQLite {sqlite3.sqlite_version}. Children are forked from one that has imported "
            f"relay: a cold start takes {imports:.1f} s more than these figures.\n\n"
        ),
        HEAD,
    ]
    lines += [_row(one) for one in results]
    broken = [(one, words) for one in results for words in one.broken]
    if broken:
        lines.append("\n")
    lines += [f"- {one.id} on {one.engine}: {_plain(words)}\n" for one, words in broken]
    return "".join(lines)


def _row(one: Result) -> str:
    verdict = "**fail**" if one.broken else "pass"
    return (
        f"| {one.id} | {one.what} | {one.engine} | {one.runs} | {_told(one)} | "
        f"{one.seconds:.0f} | {verdict} |\n"
    )


def _told(one: Result) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.figures.items())


def _plain(words: str) -> str:
    return words.replace("\n", " ")[:400]
