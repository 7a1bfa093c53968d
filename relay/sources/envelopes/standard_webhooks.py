"""Records that a script of anybody's signs with the source's secret.

Wire format: Standard Webhooks 1.0.0, symmetric signatures. A secret that does not begin with
`whsec_` is the key as it stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import SecretStr

from relay.config.load import SourceSettings
from relay.model import Incoming
from relay.sources.envelope import Envelope, Fetch, fetch_nothing
from relay.sources.envelopes.certificates import check_age, unverified
from relay.sources.envelopes.unwrap import Record, decode, records
from relay.sources.own_record import is_own_record

ID = "webhook-id"
TIME = "webhook-timestamp"
SIGNATURE = "webhook-signature"

_PREFIX = "whsec_"
_VERSION = "v1,"
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


class Signed(Envelope):
    """Relay's own records, or a storage's that a script hands on."""

    name = "signed"

    def __init__(self, settings: SourceSettings, fetch: Fetch = fetch_nothing) -> None:
        super().__init__(settings, fetch)
        self._key = _key_of(settings.secret)

    def missing_setting(self) -> str | None:
        if self._key:
            return None
        return "a secret with base64 after whsec_" if self.settings.secret else "secret"

    def recognises(self, incoming: Incoming) -> bool:
        named = any(name in incoming.headers for name in (ID, TIME, SIGNATURE))
        return incoming.method == "POST" and named

    def verify(self, incoming: Incoming) -> None:
        """Age, then signature: one of several does, so that a secret can be replaced."""
        headers = incoming.headers
        name, sent = headers.get(ID, ""), headers.get(TIME, "")
        offered = [one for one in headers.get(SIGNATURE, "").split() if one.startswith(_VERSION)]
        if not name or not sent or not offered:
            raise unverified(f"is not signed: it should have {ID}, {TIME} and {SIGNATURE} v1,...")
        moment = datetime.fromtimestamp(int(sent), UTC) if _SECONDS.fullmatch(sent) else None
        check_age(moment, incoming.received, self.settings.max_age)
        # WSGI reads the bytes of headers as Latin-1.
        signed = f"{name}.{sent}.".encode("latin-1", "replace") + incoming.body
        digest = base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256))
        known = [
            hmac.compare_digest(digest, one[len(_VERSION) :].encode("latin-1", "replace"))
            for one in offered
        ]
        if not self._key or not any(known):
            raise unverified(
                "has a wrong signature", "Sign id.timestamp.body, the body byte for byte as sent."
            )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The records; ours are named by the message where they do not name themselves."""
        sent = incoming.headers.get(ID, "")
        for record in records(decode(incoming.body)):
            yield {**record, "id": record.get("id") or sent} if is_own_record(record) else record


def _key_of(secret: SecretStr | None) -> bytes:
    """The key; nothing when there is none to be had."""
    text = secret.get_secret_value() if secret else ""
    if not text.startswith(_PREFIX):
        return text.encode()
    encoded = text.removeprefix(_PREFIX)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return b""
