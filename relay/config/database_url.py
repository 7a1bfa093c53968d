"""Validates the database URL. No error repeats the URL: it may hold a password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import ArgumentError

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
_DIALECT: Any = PGDialect_psycopg

_START = "should start with sqlite:/// or postgresql://"
_FILE = (
    "should name a file and nothing else: sqlite:///var/relay.db, or with four slashes "
    "sqlite:////srv/relay.db for a full path"
)
_DRIVER = "names a driver that Relay does not use; start it with sqlite:/// or postgresql://"
_PORT = "has a port that is not a number from 1 to 65535"
_PASSWORD = re.compile(r"\w[\w+]*://[^:/]*:([^@]*)@")
"""The password as SQLAlchemy finds it; urlsplit stops at a / and refuses a [."""
_SEVERAL = re.compile(r"(\w[\w+]*://(?:[^:/]*(?::[^@]*)?@)?)([^/?@]*,[^/?@]*)(/[^?]*)?(?:\?(.*))?")
_HOST = re.compile(r"(?:\[(.*)\]|([^:\[\]]*))(?::([0-9]*))?")


def database_url(url: str) -> str:
    """Return the URL in the form that SQLAlchemy reads. Raises ValueError: it names no database."""
    if _has_unescaped_at(url):
        raise ValueError("has an @ too many: in a password write @ as %40")
    url = _several_hosts(url)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError(_START) from None
    except ValueError:
        raise ValueError(_PORT) from None
    if parsed.drivername == "sqlite":
        _check_sqlite(parsed)
    elif parsed.drivername in _POSTGRESQL:
        _check_postgresql(parsed)
    else:
        known = parsed.drivername.partition("+")[0] in ("sqlite", *_POSTGRESQL)
        raise ValueError(_DRIVER if known else _START)
    return url


def passwords(url: str) -> Iterator[str]:
    """Yield every password in a database URL, decoded and as written."""
    if found := _PASSWORD.match(url):
        yield from {found[1], unquote(found[1])} - {""}
        url = url[found.end() :]
    for name, value in parse_qsl(url.partition("?")[2]):
        if "password" in name:
            yield value


def _has_unescaped_at(url: str) -> bool:
    """Return whether an @ cuts the password short: the rest would be looked up as a host."""
    found = _PASSWORD.match(url)
    where, _, options = url[found.end() if found else len(url) :].partition("?")
    return "@" in where or "@" in re.sub(r"=[^&]*", "", options)


def _several_hosts(url: str) -> str:
    """Rewrite libpq's "h1:5432,h2:5432", which SQLAlchemy cannot read, into host and port lists."""
    found = _SEVERAL.fullmatch(url)
    if not found or not re.search(r"[:\[]", found[2]):
        return url
    matches = [_HOST.fullmatch(host) for host in found[2].split(",")]
    if not all(matches):
        return url
    hosts = ",".join(match[1] or match[2] for match in matches if match)
    ports = ",".join(match[3] or "" for match in matches if match)
    query = "&".join(filter(None, (found[4], f"host={hosts}", f"port={ports}")))
    return f"{found[1]}{found[3] or '/'}?{query}"


def sqlite_file(url: str) -> Path | None:
    """Return the file of a valid SQLite URL."""
    parsed = make_url(url)
    is_file = parsed.drivername == "sqlite" and parsed.database
    return Path(str(parsed.database)) if is_file else None


def _check_sqlite(parsed: URL) -> None:
    # sqlite://var/relay.db has two slashes: SQLAlchemy takes `var` for a host.
    if parsed.username or parsed.password or parsed.host or parsed.port or parsed.query:
        raise ValueError(_FILE)
    if parsed.database in (None, "", ":memory:") or "\0" in str(parsed.database):
        raise ValueError(_FILE)


def _check_postgresql(parsed: URL) -> None:
    try:
        options = _DIALECT().create_connect_args(parsed)[1]
    except (ArgumentError, ValueError):
        raise ValueError(
            "has hosts and ports that do not go together; several are written as "
            "postgresql://user@host1:5432,host2:5432/db"
        ) from None
    ports = [port for port in str(options.get("port", "")).split(",") if port]
    if not all(re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536 for port in ports):
        raise ValueError(_PORT)
