"""Output of commands: JSON for programs; aligned tables, relative times and colour for people."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from unicodedata import east_asian_width

import click

from relay.config.text import escape_invisible
from relay.config.units import parse_duration
from relay.errors import RelayError
from relay.model import Delivery, Problem, State, utc_now

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

COLOURS = {
    State.PENDING: "yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.SKIPPED: "bright_black",
}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def point_in_time(text: str) -> datetime:
    """Parse a date, a date with a time (UTC unless an offset is given), or an age such as "2d"."""
    try:
        return utc_now() - parse_duration(text)
    except (ValueError, OverflowError):
        pass  # Not a duration; try a date.
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            'should be such as "2d", "2026-11-24" or "2026-11-24T08:30Z"'
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def to_json(value: Any) -> Any:
    """Convert domain values to JSON types: times to ISO 8601, dataclasses to objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if hasattr(value, "_asdict"):
        return to_json(value._asdict())
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """Print a JSON document. ASCII only, so that no key can break a terminal or a pipe."""
    click.echo(json.dumps(to_json(value), indent=2, ensure_ascii=True))


def error_as_json(error: RelayError | Problem) -> dict[str, str]:
    """Return an error as JSON, in English."""
    path = getattr(error, "path", None)
    location = {"path": path} if path is not None else {}
    return {**location, "code": error.code, "message": error.message.en, "hint": error.hint.en}


def error_text(message: str, hint: str) -> str:
    """Join a message and a hint, which may be empty, to sentences."""
    return f"{message}. {hint}".rstrip()


def visible(text: object) -> str:
    """Escape foreign text for a terminal: a single line without control characters."""
    return escape_invisible(str(text))


def style(text: str, **attributes: Any) -> str:
    """Colour the text unless NO_COLOR is set. click removes it if stdout is not a terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **attributes)


def coloured_state(delivery: Delivery) -> str:
    """Return the state in colour; a pending delivery with attempts is "retrying"."""
    retrying = delivery.state == State.PENDING and delivery.attempts
    return style("retrying" if retrying else delivery.state.value, fg=COLOURS[delivery.state])


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits, rounded down: "3 min"."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(seconds, 0):.2f} s"


def format_age(moment: datetime | None, now: datetime) -> str:
    """Return "3 min ago", "in 10 s" or, for None, an empty string."""
    if moment is None:
        return ""
    seconds = (now - moment).total_seconds()
    if seconds >= 0:
        return f"{format_duration(seconds)} ago"
    return f"in {format_duration(-seconds)}"


def format_time(moment: datetime | None, now: datetime) -> str:
    """Return the absolute and the relative time: "2026-11-24 08:30:00Z (3 min ago)"."""
    if moment is None:
        return ""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z ({format_age(moment, now)})"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns. The last column is not padded."""
    lines = [[style(title, bold=True) for title in head], *rows]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head) - 1)]
    for line in lines:
        cells = [
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=False)
        ]
        click.echo("  ".join([*cells, line[-1]]).rstrip())


def _width(cell: str) -> int:
    return sum(1 + (east_asian_width(char) in "WF") for char in _STYLE.sub("", cell))
