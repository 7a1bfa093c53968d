"""TokenEnvelope: what is common to wrappings that are not signed: the sender shows a token."""

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
    """An envelope whose senders are known by the source's `token`."""

    def missing_setting(self) -> str | None:
        return None if self.settings.token else "token"

    def verify(self, incoming: Incoming) -> None:
        """See `check`."""
        check(self.settings, incoming)


def check(settings: SourceSettings, incoming: Incoming) -> None:
    """Raises Unverified unless the sender showed the source's token.

    It is taken as `Authorization: Bearer`, as user or password of `Basic`, as the header's whole
    value (MinIO's rule for tokens of two words), as the value of `token_header`, as `?token=`, and
    as `?access_token=` (CloudEvents' rule).
    """
    token = settings.token.get_secret_value().encode() if settings.token else b""
    offered = list(_credentials(incoming, (settings.token_header or "").lower()))
    known = [hmac.compare_digest(token, one) for one in offered]
    if not token or not any(known):
        raise Unverified(
            "hook.unverified",
            "The sender did not show the source's token",
            "Send it as `Authorization: Bearer TOKEN` or as `?token=TOKEN`.",
        )


def _credentials(incoming: Incoming, own_header: str) -> Iterator[bytes]:
    header = incoming.headers.get("authorization", "").encode("latin-1", "replace")
    scheme, _, rest = header.partition(b" ")
    yield header
    if scheme.lower() == b"bearer":
        yield rest.strip()
    if scheme.lower() == b"basic":
        with contextlib.suppress(binascii.Error):
            yield from base64.b64decode(rest, validate=True).split(b":", 1)
    if own_header:
        yield incoming.headers.get(own_header, "").encode("latin-1", "replace")
    for name in ("token", "access_token"):
        yield incoming.query.get(name, "").encode("utf-8", "surrogatepass")
