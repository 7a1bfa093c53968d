"""Log set-up: JSON lines for machines, text on a terminal, secrets in neither."""

from __future__ import annotations

import json as json_module
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import IO, Any

from relay.config.log_context import request_id
from relay.config.redaction import Redactor
from relay.config.text import escape_invisible

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    request = request_id.get()
    return {"request": request, **fields} if request else fields


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

    def trace(self, record: logging.LogRecord) -> str:
        parts = []
        if record.exc_info and record.exc_info[0]:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(record.stack_info)
        return self.redactor.text("\n".join(parts))


class JsonFormatter(_Formatter):
    """Formats a record as one JSON object: time, level, logger, event, fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self.redactor.text(record.getMessage()),
        }
        fields = self.redactor.value(_fields(record))
        line |= {key: value for key, value in fields.items() if key not in line}
        if trace := self.trace(record):
            line["traceback"] = trace
        # ASCII: a lone surrogate in an object's key must not break the stream.
        return json_module.dumps(line, ensure_ascii=True)


class TextFormatter(_Formatter):
    """Formats a record for people: local time, level, event, fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = self.redactor.value(_fields(record))
        parts = [time, f"{record.levelname.lower():8}", self.redactor.text(record.getMessage())]
        parts += [f"{key}={value}" for key, value in fields.items() if value is not None]
        lines = [" ".join(parts), *self.trace(record).splitlines()]
        return "\n".join(map(escape_invisible, lines))


def configure(
    stream: IO[str],
    *,
    json: bool | None = None,
    secrets: Iterable[str] = (),
    level: int = logging.INFO,
) -> logging.Handler:
    """Send log lines from `level` up to `stream`, replacing any earlier set-up.

    `json`: None decides by the stream: text on a terminal, JSON otherwise. `secrets` are hidden
    everywhere in a line, also in tracebacks and escaped. Returns the handler.
    """
    as_json = not stream.isatty() if json is None else json
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(redactor) if as_json else TextFormatter(redactor))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # At INFO these log every request, which our own lines already report.
    for library in ("werkzeug", "botocore", "boto3", "urllib3", "alembic", "watchdog"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    return handler
