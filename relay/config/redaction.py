"""Takes secrets, signed addresses and credentials out of texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

HIDDEN = "[redacted]"

_SHORTEST_SECRET = 4
_SHORTEST_PART = 12
"""Characters from which on a part of an address is hidden in every line; shorter: maybe a word."""
# Names of query parameters that sign or open something, at AWS, OBS, OSS, Azure, GCS and in chats.
QUERY_SECRETS = (
    r"x-(?:amz|goog|oss|obs)-[a-z-]+|(?:q-)?signature|sig|sign|awsaccesskeyid|ossaccesskeyid"
    r"|accesskeyid|googleaccessid|[a-z_-]*token|secret|password|code"
)
_QUERY = re.compile(rf"([?&;](?:{QUERY_SECRETS}|key)=)[^&\s\"'<>#]*", re.IGNORECASE)
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

_fetched: dict[str, None] = {}
_MOST_FETCHED = 64


def hide(*secrets: str) -> None:
    """Hide secrets that became known after the start, such as fetched tokens, from now on.

    The last 64 are kept: older ones have expired.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            _fetched.pop(secret, None)
            _fetched[secret] = None
    for expired in list(_fetched)[:-_MOST_FETCHED]:
        _fetched.pop(expired, None)


def without_links(text: str) -> str:
    """Shorten the retrigger links (relay/channels/retrigger_links.py) in a text."""
    return _LINK.sub(rf"\1{HIDDEN}", text)


def address_parts(url: str) -> Iterator[str]:
    """Yield the parts of a secret URL that give it away: path, query, their parts, and the user.

    Each is given as written and decoded. Plain words of a path are left out: a text may say
    "webhook".
    """
    try:
        split = urlsplit(url)
    except ValueError:  # an address that only another program understands
        return
    names = split.netloc.rpartition("@")[0]
    if not names and split.scheme not in ("http", "https"):
        names = split.netloc  # Apprise's tgram://TOKEN/chat
    parts = [*names.split(":"), *(value for _, value in parse_qsl(split.query))]
    parts += [pair.partition("=")[2] for pair in split.query.split("&")]
    parts += [word for word in split.path.split("/") if not _WORD.fullmatch(word)]
    if secret := [word for word in (*parts, *map(unquote, parts)) if word]:
        yield from (split.path, f"{split.path}?{split.query}")
        yield from secret


class Redactor:
    """Hides known secrets, signatures in addresses, and what authorises a request.

    `shortest_part`: parts of secret addresses that are shorter stay readable.
    """

    def __init__(self, secrets: Iterable[str] = (), *, shortest_part: int = _SHORTEST_PART) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
        addresses = [secret for secret in self._secrets if "://" in secret]
        parts = (part for address in addresses for part in address_parts(address))
        self._secrets += [part for part in parts if len(part) >= shortest_part]
        self._built: tuple[str, ...] | None = None
        self._pattern: re.Pattern[str] | None = None

    def known(self, text: str) -> str:
        """Return the text without known secrets and retrigger links; JSON stays JSON."""
        pattern = self._current_pattern()
        return without_links(pattern.sub(HIDDEN, text) if pattern else text)

    def text(self, text: str) -> str:
        """Return the text without known secrets and without what looks like a credential."""
        text = self.known(text)
        if _PLAIN.fullmatch(text):
            return text
        text = _USER.sub(rf"\1{HIDDEN}@", text)
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        return _SCHEME.sub(rf"\1 {HIDDEN}", text)

    def value(self, value: Any) -> Any:
        """Return a value as JSON can hold it, the texts in it redacted."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._named(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(str(value))

    def _current_pattern(self) -> re.Pattern[str] | None:
        late = tuple(_fetched)
        if late != self._built:
            forms: set[str] = set()
            for secret in (*self._secrets, *late):
                forms |= {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
                forms |= {repr(secret)[1:-1], json.dumps(secret)[1:-1]}
            longest_first = sorted(forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None
            self._built = late
        return self._pattern

    def _named(self, name: str, value: Any) -> Any:
        sensitive = isinstance(value, str | bytes) and _SENSITIVE.search(name)
        return HIDDEN if sensitive else self.value(value)
