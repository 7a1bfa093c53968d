"""Fetcher: certificates, keys and confirmations, got from addresses that were pinned before."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from relay.errors import TemporaryFailure
from relay.model import Localized
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory, IPNetwork

CONNECT = 2.0
READ = 3.0
"""Seconds. A sender waits for our answer meanwhile: SMN and EventBridge 5 s, SNS 15 s."""

LARGEST = 256 * 1024
"""Bytes of an answer: a key set of Microsoft's has a tenth of that."""


class Fetcher:
    """A `relay.sources.envelope.Fetch` over the guarded way out."""

    def __init__(self, allow_private: Sequence[IPNetwork] = ()) -> None:
        outbound = HttpClientFactory(
            allow_private=allow_private, connect_timeout=CONNECT, read_timeout=READ
        )
        self._session = outbound.session(guarded=True, max_answer=LARGEST)

    def __call__(self, url: str) -> bytes:
        """The body of a 200. PermanentFailure: not a public address; else TemporaryFailure."""
        try:
            answer = self._session.get(url)
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
        if answer.status_code != 200:
            raise TemporaryFailure(
                "fetch.refused",
                Localized(
                    f"A pinned address answered {answer.status_code} instead of 200",
                    f"已固定的地址返回了 {answer.status_code}，而不是 200",
                ),
            )
        return answer.content

    def close(self) -> None:
        self._session.close()
