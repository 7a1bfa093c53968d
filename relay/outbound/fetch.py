"""Fetcher: gets certificates, keys and confirmation URLs that envelopes have checked."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from relay.errors import TemporaryFailure
from relay.model import Localized
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory, IPNetwork

CONNECT = 2.0
READ = 3.0
"""Timeouts in seconds. The sender waits meanwhile: SMN and EventBridge 5 s, SNS 15 s."""

MAX_BYTES = 256 * 1024
"""Bytes of a response that are read; Microsoft's key set has a tenth of that."""


class Fetcher:
    """A `relay.sources.envelope.Fetch` that reaches public addresses only."""

    def __init__(self, allow_private: Sequence[IPNetwork] = ()) -> None:
        outbound = HttpClientFactory(
            allow_private=allow_private, connect_timeout=CONNECT, read_timeout=READ
        )
        self._session = outbound.session(guarded=True, max_response=MAX_BYTES)

    def __call__(self, url: str) -> bytes:
        """Return the body of a 200 response; else TemporaryFailure.

        PermanentFailure when the address is not public.
        """
        try:
            response = self._session.get(url)
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
        if response.status_code != 200:
            raise TemporaryFailure(
                "fetch.refused",
                Localized(
                    f"A pinned URL returned {response.status_code} instead of 200",
                    f"固定的 URL 返回了 {response.status_code}，而不是 200",
                ),
            )
        return response.content

    def close(self) -> None:
        self._session.close()
