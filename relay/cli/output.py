"""How commands print: JSON for programs; aligned tables, relative times and colour for people."""

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

from relay.config.units import parse_duration
from relay.errors import RelayError
from relay.model import Delivery, State, utc_now

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

COLOURS = {
    State.PENDING: "yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.SKIPPED: "bright_black",
}
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


class Moment(click.ParamType[datetime]):
    """A point in time: a date, a date with time (UTC unless it says), or how long ago ("2d")."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return utc_now() - parse_duration(value)
        except (ValueError, OverflowError):
            pass  # no duration: perhaps a date
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail('should be such as "2d", "2026-11-24" or "2026-11-24T08:30Z"', param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def plain(value: Any) -> Any:
    """A value of ours as JSON can hold it: times in ISO 8601, dataclasses as objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on stdout. ASCII, so that no key can break a terminal or a pipe."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=True))


def told(error: RelayError) -> dict[str, str]:
    """An error as JSON, in English."""
    path = getattr(error, "path", None)
    where = {"path": path} if path is not None else {}
    return {**where, "code": error.code, "message": error.message.en, "hint": error.hint.en}


def visible(text: object) -> str:
    """Text from outside, on one line, with what a terminal would act on shown as escapes."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def style(text: str, **how: Any) -> str:
    """Colour, unless NO_COLOR asks for none; click drops it when stdout is no terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **how)


def state_word(delivery: Delivery) -> str:
    """The state in colour; "retrying" is what people call pending after an attempt."""
    retrying = delivery.state == State.PENDING and delivery.attempts
    return style("retrying" if retrying else delivery.state.value, fg=COLOURS[delivery.state])


def span(seconds: float) -> str:
    """A length of time in one unit, rounded down: "3 min"."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(seconds, 0):.2f} s"


def ago(moment: datetime | None, now: datetime) -> str:
    """ "3 min ago", "in 10 s"; empty when there is no moment."""
    if moment is None:
        return ""
    seconds = (now - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def when(moment: datetime | None, now: datetime) -> str:
    """Absolute and relative: "2026-11-24 08:30:00Z (3 min ago)"."""
    if moment is None:
        return ""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z ({ago(moment, now)})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the last one is left as it is."""
    lines = [[style(title, bold=True) for title in head], *rows]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(head) - 1)]
    for line in lines:
        cells = [
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=False)
        ]
        click.echo("  ".join([*cells, line[-1]]).rstrip())


def _width(cell: str) -> int:
    return sum(1 + (east_asian_width(char) in "WF") for char in _STYLE.sub("", cell))
