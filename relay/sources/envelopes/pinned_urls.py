"""Addresses that a sender names, taken only when they lead where we already know.

The grammar is far narrower than that of RFC 3986: nothing that two parsers could read in two ways
comes through it. No port, user, fragment, capital in the host, backslash or escape in the path.
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

LONGEST = 4096
"""Characters of an address; confirmations of SNS and SMN have 600."""

_ADDRESS = re.compile(
    r"https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(/[\w.~/-]*)(?:\?([\w.~:/?@!$&'()*+,;=%-]*))?", re.ASCII
)
_REGION = "[a-z0-9-]{3,40}"


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an address; `query` is None when there is no question mark."""

    host: str
    path: str
    query: str | None

    def is_at(self, hosts: Sequence[str]) -> bool:
        """Whether its host is one of these; `*` in them is a region."""
        return any(_pattern(one).fullmatch(self.host) for one in hosts)

    def asks(self, name: str) -> str | None:
        """The value of a name in the query; None when it is not there, or there twice."""
        found = [value for key, value in parse_qsl(self.query or "") if key == name]
        return found[0] if len(found) == 1 else None


def read(url: Any) -> Address | None:
    """The address; None when it is not one of https that everybody would read alike."""
    if not isinstance(url, str) or len(url) > LONGEST:
        return None
    found = _ADDRESS.fullmatch(url)
    return Address(*found.groups()) if found and ".." not in found[2] else None


def confirm(fetch: Fetch, url: str, topic: str) -> None:
    """Visits a pinned address that confirms a subscription.

    TemporaryFailure when it does not answer with 200.
    """
    try:
        fetch(url)
    except RelayError as error:
        raise TemporaryFailure(
            "envelope.not_confirmed",
            Localized(
                "The address that confirms the subscription does not answer as it should",
                "订阅确认地址未正常应答",
            ),
            Localized("The sender should come again.", "发送方应稍后重试。"),
        ) from error
    log.info("subscription confirmed", extra={"topic": topic})


def is_region(text: str) -> bool:
    """Whether it may be the name of a cloud's region, such as cn-north-4."""
    return re.fullmatch(_REGION, text) is not None


def _pattern(host: str) -> re.Pattern[str]:
    return re.compile(_REGION.join(map(re.escape, host.split("*"))))
