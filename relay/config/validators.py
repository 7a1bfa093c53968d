"""Validators of single settings: names, tokens, addresses, globs and templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import time
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import SecretStr

from relay.config.globs import compile_glob

NAME_RIGHT = "should be letters, digits, _ and - only"
TEMPLATE_FIELDS = ("function", "stem", "key", "bucket")

_HOURS = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FIELD = re.compile(r"\{([^{}]*)\}")
_BRACES = re.compile(r"[{}]")
_TOKEN = re.compile(r"[\x21-\x7e]+")


def is_name(text: str) -> bool:
    """Return whether a source, target, channel or route may have this name (it is part of URLs)."""
    return _NAME.fullmatch(text) is not None


def name(text: str) -> str:
    if not is_name(text):
        raise ValueError(NAME_RIGHT)
    return text


class Hours(NamedTuple):
    """A daily period; it passes midnight if `end` is before `start`."""

    start: time
    end: time


def quiet_hours(value: Any) -> Any:
    """Parse "22:00-07:00"; "" means no quiet hours."""
    if value is None or value == "" or isinstance(value, Hours):
        return value or None
    right = 'should be two times of the day such as "22:00-07:00"'
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(right)
    try:
        hours = Hours(*map(time.fromisoformat, found.groups()))
    except ValueError:
        raise ValueError(right) from None
    if hours.start == hours.end:
        raise ValueError("begins and ends at the same time; remove it to notify at all hours")
    return hours


def hours_words(hours: Hours | None) -> str:
    return "-".join(f"{time:%H:%M}" for time in hours) if hours else ""


def time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("should be an IANA time zone, such as Asia/Shanghai") from None
    return name


def nothing_if_empty(value: Any) -> Any:
    """Return None for "": an empty token must never authenticate a sender."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return None if text == "" else value


def without_empty(value: Any) -> Any:
    """Return a list without the empty texts in it, for the same reason."""
    if not isinstance(value, list | tuple):
        return value
    return [item for item in value if nothing_if_empty(item) is not None]


def bearer_token(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("should be printable ASCII without spaces: it travels in a header")
    return token


def public_url(url: str) -> str:
    parts = web_address(url, "https://relay.example.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("should have no user, password, ? or #: it is shown in messages")
    return url.rstrip("/")


def checked_url(url: str, *, example: str = "https://s3.example.com") -> str:
    """Return a service URL: http(s) and a host, without user, query or fragment."""
    parts = web_address(url, f'"{example}"')
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("should hold no user, password, query or fragment")
    return url.rstrip("/")


def web_address(url: str, example: str) -> SplitResult:
    """Split a URL. Raises ValueError, which does not quote the URL: not http(s), or no host."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        # The error's text may quote the user and password.
        fits = False
    if not fits:
        raise ValueError(f"should be an address such as {example}")
    host_name(parts.hostname or "")
    return parts


def host_name(host: str) -> str:
    """Check the labels of a host name, which no client could resolve. Raises ValueError."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(
            "names a host of which a label is empty or has more than 63 characters"
        ) from None
    return host


def glob(text: str) -> str:
    compile_glob(text)
    return text


def template(text: str, fields: Sequence[str]) -> str:
    """Check that each {...} names a field of `fields`. Raises ValueError."""
    known = ", ".join(f"{{{field}}}" for field in fields)
    if any(field not in fields for field in _FIELD.findall(text)):
        raise ValueError(f"has an unknown {{...}}; known are {known}")
    if _BRACES.search(_FIELD.sub("", text)):
        raise ValueError("has a { or } without its counterpart")
    if not text:
        raise ValueError("is empty")
    return text


def network(value: Any) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError:
        raise ValueError("should be a network such as 10.0.0.0/8 or fd00::/8") from None
