"""Parsing of URLs that a sender names, so that they can be compared with known hosts.

The grammar is much narrower than RFC 3986, so that no two parsers read a URL differently: no port,
user or fragment, no capital letters in the host, no backslashes or escapes in the path.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from relay.errors import RelayError, TemporaryFailure
from relay.model import Localized
from relay.sources.envelope import Fetch

log = logging.getLogger(__name__)

MAX_LENGTH = 4096
"""Characters of a URL; confirmation URLs of SNS and SMN have about 600."""

_URL = re.compile(
    r"https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(/[\w.~/-]*)(?:\?([\w.~:/?@!$&'()*+,;=%-]*))?", re.ASCII
)
_REGION = "[a-z0-9-]{3,40}"


@dataclass(frozen=True, slots=True)
class PinnedUrl:
    """The parts of a URL; `query` is None without a question mark."""

    host: str
    path: str
    query: str | None

    def has_host(self, patterns: Sequence[str]) -> bool:
        """Whether the host matches a pattern; `*` in a pattern stands for a region."""
        return any(_compile(pattern).fullmatch(self.host) for pattern in patterns)

    def query_value(self, name: str) -> str | None:
        """The value of a query parameter; None when it is absent or repeated."""
        values = [value for key, value in parse_qsl(self.query or "") if key == name]
        return values[0] if len(values) == 1 else None


def parse_url(url: Any) -> PinnedUrl | None:
    """Parse an https URL; None when it does not match the grammar."""
    if not isinstance(url, str) or len(url) > MAX_LENGTH:
        return None
    match = _URL.fullmatch(url)
    return PinnedUrl(*match.groups()) if match and ".." not in match[2] else None


def confirm_subscription(fetch: Fetch, url: str, topic: str) -> None:
    """Visit the confirmation URL of a subscription, which the caller has checked.

    TemporaryFailure when the response is not a 200.
    """
    try:
        fetch(url)
    except RelayError as error:
        raise TemporaryFailure(
            "envelope.not_confirmed",
            Localized(
                "The URL that confirms the subscription did not respond as expected",
                "订阅确认地址未正常响应",
            ),
            Localized("The sender should retry.", "发送方应稍后重试。"),
        ) from error
    log.info("subscription confirmed", extra={"topic": topic})


def is_region(text: str) -> bool:
    """Whether the text has the form of a cloud region, such as cn-north-4."""
    return re.fullmatch(_REGION, text) is not None


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(_REGION.join(map(re.escape, pattern.split("*"))))
