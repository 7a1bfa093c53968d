"""Log lines: JSON for machines, text on a terminal, in neither a secret or a signed address."""

from __future__ import annotations

import json as json_module
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

request_id: ContextVar[str | None] = ContextVar("relay_request_id", default=None)
"""The id of the request that is being answered; each line logged meanwhile has it."""

HIDDEN = "[redacted]"

_SHORTEST_SECRET = 4
_SHORTEST_PART = 12
"""Characters of an address's part that is hidden in every line: a shorter one may be a word."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Names of query parameters that sign or open something, at AWS, OBS, OSS, Azure, GCS and in chats.
_QUERY = re.compile(
    r"([?&;](?:x-(?:amz|goog|oss|obs)-[a-z-]+|signature|sig|sign|awsaccesskeyid|ossaccesskeyid"
    r"|accesskeyid|googleaccessid|key|token|[a-z_]*token|secret|password|code)=)[^&\s\"'<>#]*",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"((?:proxy-)?authorization|x-auth-token|x-subject-token|x-security-token"
    r"|x-amz-security-token|set-cookie|cookie)"
    r"(\\?[\"']?\s*[:=,]\s*(?:b(?=\\?[\"']))?\\?[\"']?)[^\r\n\"'\\]+",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{4,}")
_SENSITIVE = re.compile(
    r"(authorization|cookie|secret|secret_key|password|token|signature)", re.IGNORECASE
)
_LINK = re.compile(r"((?:/|%2F)links\\?(?:/|%2F))[A-Za-z0-9._-]{8,}", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.-]*")  # ids and words, as most fields are: nothing below can match
_WORD = re.compile(r"[a-z]{0,15}")
_USER = re.compile(r"(://)[^/?#\s@\"'<>]*@")


_late: dict[str, None] = {}
_MOST_LATE = 64


def hide(*secrets: str) -> None:
    """Hides secrets that were found after the start (a token that was fetched, a key of the
    environment) in every later line. The last 64 are known: older ones have ended."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            _late.pop(secret, None)
            _late[secret] = None
    for old in list(_late)[:-_MOST_LATE]:
        _late.pop(old, None)


def without_links(text: str) -> str:
    """Shorten the retrigger links (relay/channels/retrigger_links.py) in a text."""
    return _LINK.sub(rf"\1{HIDDEN}", text)


def address_parts(url: str) -> Iterator[str]:
    """What shows a URL that is a secret as well as all of it does: its path and query, and each of
    their parts and of its user; written as they are, and decoded. Plain words of a path are left
    out, else "webhook" could not be read anywhere."""
    try:
        split = urlsplit(url)
    except ValueError:  # an address for somebody else: no parts are known
        return
    names = split.netloc.rpartition("@")[0]
    if not names and split.scheme not in ("http", "https"):
        names = split.netloc  # Apprise's tgram://TOKEN/chat
    told = [*names.split(":"), *(value for _, value in parse_qsl(split.query))]
    told += [pair.partition("=")[2] for pair in split.query.split("&")]
    told += [word for word in split.path.split("/") if not _WORD.fullmatch(word)]
    if secret := [word for word in (*told, *map(unquote, told)) if word]:
        yield from (split.path, f"{split.path}?{split.query}")
        yield from secret


class Redactor:
    """Hides known secrets, signatures in addresses, and what authorises a request."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        addresses = [secret for secret in self._secrets if "://" in secret]
        parts = (part for address in addresses for part in address_parts(address))
        self._secrets += [part for part in parts if len(part) >= _SHORTEST_PART]
        self._built: tuple[str, ...] | None = None
        self._known: re.Pattern[str] | None = None

    def text(self, text: str) -> str:
        """The text without anything secret."""
        known = self._pattern()
        if known:
            text = known.sub(HIDDEN, text)
        if _PLAIN.fullmatch(text):
            return text
        text = _USER.sub(rf"\1{HIDDEN}@", text)
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        return without_links(_SCHEME.sub(rf"\1 {HIDDEN}", text))

    def value(self, value: Any) -> Any:
        """A value as JSON can hold it, its texts without anything secret."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._named(str(key), one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(one) for one in value]
        return self.text(str(value))

    def _pattern(self) -> re.Pattern[str] | None:
        late = tuple(_late)
        if late != self._built:
            forms: set[str] = set()
            for secret in (*self._secrets, *late):
                forms |= {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
                forms |= {repr(secret)[1:-1], json_module.dumps(secret)[1:-1]}
            longest_first = sorted(forms, key=len, reverse=True)
            self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None
            self._built = late
        return self._known

    def _named(self, name: str, value: Any) -> Any:
        sensitive = isinstance(value, str | bytes) and _SENSITIVE.search(name)
        return HIDDEN if sensitive else self.value(value)


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
    """One JSON object a line: time, level, logger, event, the fields, and a traceback if any."""

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
    """For eyes: the local time, the level, the event, the fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = self.redactor.value(_fields(record))
        parts = [time, f"{record.levelname.lower():8}", self.redactor.text(record.getMessage())]
        parts += [f"{key}={value}" for key, value in fields.items() if value is not None]
        line = _UNSEEN.sub(_escape, " ".join(parts))
        trace = [_UNSEEN.sub(_escape, one) for one in self.trace(record).splitlines()]
        return "\n".join([line, *trace])


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def configure(
    stream: IO[str],
    *,
    json: bool | None = None,
    secrets: Iterable[str] = (),
    level: int = logging.INFO,
) -> logging.Handler:
    """Sends log lines from `level` up to `stream`, in place of whatever was set up before.

    `json`: None decides by the stream: text on a terminal, JSON otherwise. `secrets` are hidden
    wherever they show up, also in tracebacks and escaped. Returns the handler.
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
    # Their lines at INFO tell of single requests, which ours do better.
    for chatty in ("werkzeug", "botocore", "boto3", "urllib3", "alembic", "watchdog"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    return handler
