"""TokenEnvelope: base of envelopes without signatures; the sender shows the source's token."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
from collections.abc import Iterator

from relay.config.load import SourceSettings
from relay.errors import Unverified
from relay.model import Incoming
from relay.sources.envelope import Envelope


class TokenEnvelope(Envelope):
    """An envelope whose senders show the `token` of the source."""

    def missing_setting(self) -> str | None:
        return None if self.settings.token else "token"

    def verify(self, incoming: Incoming) -> None:
        check_token(self.settings, incoming)


def check_token(settings: SourceSettings, incoming: Incoming) -> None:
    """Raise Unverified unless the request contains the source's token.

    Accepted are `Authorization: Bearer`, user or password of `Basic`, the whole value of
    `Authorization` (MinIO sends tokens of two words that way), the value of `token_header`,
    `?token=`, and `?access_token=` (CloudEvents).
    """
    token = settings.token.get_secret_value().encode() if settings.token else b""
    candidates = list(_credentials(incoming, (settings.token_header or "").lower()))
    matches = [hmac.compare_digest(token, candidate) for candidate in candidates]
    if not token or not any(matches):
        raise Unverified(
            "hook.unverified",
            "The sender did not show the source's token",
            "Send it as `Authorization: Bearer TOKEN` or as `?token=TOKEN`.",
        )


def _credentials(incoming: Incoming, token_header: str) -> Iterator[bytes]:
    authorization = incoming.headers.get("authorization", "").encode("latin-1", "replace")
    scheme, _, credentials = authorization.partition(b" ")
    yield authorization
    if scheme.lower() == b"bearer":
        yield credentials.strip()
    if scheme.lower() == b"basic":
        with contextlib.suppress(binascii.Error):
            yield from base64.b64decode(credentials, validate=True).split(b":", 1)
    if token_header:
        yield incoming.headers.get(token_header, "").encode("latin-1", "replace")
    for name in ("token", "access_token"):
        yield incoming.query.get(name, "").encode("utf-8", "surrogatepass")
