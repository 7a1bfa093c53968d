"""The table of results: id, what, engine, runs, figures, time, and the violations.

A long run of some scenarios replaces only their rows in latest.md, so that a full run can be made
in parts.
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


def result_line(result: Result) -> str:
    """Return a line for the terminal, with the violations below it."""
    verdict = "FAIL" if result.broken else "pass"
    line = (
        f"{verdict}  {result.id:38} {result.engine:10} {result.seconds:7.1f} s  {_figures(result)}"
    )
    return "\n".join([line, *(f"      {violation}" for violation in result.broken)])


def render(results: Sequence[Result], title: str, previous: str = "") -> str:
    """Return the table as Markdown. Other rows of the `previous` table are kept."""
    rows = {(m["id"], m["engine"]): m[0] + "\n" for m in _ROW.finditer(previous)}
    rows |= {(result.id, result.engine): _row(result) for result in results}
    failed = sum("**fail**" in row for row in rows.values())
    head = f"{title}: {len(rows) - failed} passed, {failed} failed.\n{_machine()}\n\n"
    ordered = (row for _, row in sorted(rows.items()))
    return "".join([head, HEAD, *ordered])


def update_latest(path: Path, results: Sequence[Result]) -> str:
    """Return the content of the file with these results added."""
    previous = path.read_text() if path.exists() else ""
    return render(results, "`make torture`, by hand", previous)


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite "
        f"{sqlite3.sqlite_version}; other programs may have used the cores. Children are forked "
        "from a process that has imported relay: a cold start takes 1 to 2 seconds more than "
        "these figures."
    )


def _row(result: Result) -> str:
    verdict = "**fail**" if result.broken else "pass"
    figures = "; ".join([_figures(result), *map(_cell, result.broken[:3])])
    return (
        f"| {result.id} | {result.what} | {result.engine} | {result.runs} | {figures} | "
        f"{result.seconds:.0f} | {result.ended:%Y-%m-%d %H:%M} | {verdict} |\n"
    )


def _figures(result: Result) -> str:
    figures = ", ".join(f"{name} {value}" for name, value in result.figures.items())
    return figures.replace("|", "/")


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "/")[:300]
