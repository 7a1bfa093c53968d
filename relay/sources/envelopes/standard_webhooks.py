"""Standard Webhooks: records that a script signs with the source's secret.

Wire format: Standard Webhooks 1.0.0, symmetric signatures. A secret without the prefix `whsec_` is
used as the key directly.
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
from relay.sources.envelope import Envelope, Fetch, refuse_fetch
from relay.sources.envelopes.certificates import check_age, unverified
from relay.sources.envelopes.unwrap import Record, decode_json, unwrap_records
from relay.sources.own_record import is_own_record

ID = "webhook-id"
TIME = "webhook-timestamp"
SIGNATURE = "webhook-signature"

_PREFIX = "whsec_"
_VERSION = "v1,"
_SECONDS = re.compile(r"[0-9]{1,11}", re.ASCII)


class StandardWebhooks(Envelope):
    """Relay's own records, or records of a storage that a script forwards."""

    name = "signed"

    def __init__(self, settings: SourceSettings, fetch: Fetch = refuse_fetch) -> None:
        super().__init__(settings, fetch)
        self._key = _decode_key(settings.secret)

    def missing_setting(self) -> str | None:
        if self._key:
            return None
        return "a secret with base64 after whsec_" if self.settings.secret else "secret"

    def recognises(self, incoming: Incoming) -> bool:
        has_header = any(name in incoming.headers for name in (ID, TIME, SIGNATURE))
        return incoming.method == "POST" and has_header

    def verify(self, incoming: Incoming) -> None:
        """Check the age, then any of several signatures, so that a secret can be replaced."""
        headers = incoming.headers
        message_id, timestamp = headers.get(ID, ""), headers.get(TIME, "")
        signatures = [
            signature.removeprefix(_VERSION).encode("latin-1", "replace")
            for signature in headers.get(SIGNATURE, "").split()
            if signature.startswith(_VERSION)
        ]
        if not message_id or not timestamp or not signatures:
            raise unverified(f"is not signed: it should have {ID}, {TIME} and {SIGNATURE} v1,...")
        is_number = _SECONDS.fullmatch(timestamp)
        sent = datetime.fromtimestamp(int(timestamp), UTC) if is_number else None
        check_age(sent, incoming.received, self.settings.max_age)
        # WSGI decodes headers as Latin-1.
        signed = f"{message_id}.{timestamp}.".encode("latin-1", "replace") + incoming.body
        expected = base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256))
        matches = [hmac.compare_digest(expected, signature) for signature in signatures]
        if not self._key or not any(matches):
            raise unverified(
                "has a wrong signature", "Sign id.timestamp.body, the body byte for byte as sent."
            )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the records. Relay's own records without an id get the id of the message."""
        message_id = incoming.headers.get(ID, "")
        for record in unwrap_records(decode_json(incoming.body)):
            is_own = is_own_record(record)
            yield {**record, "id": record.get("id") or message_id} if is_own else record


def _decode_key(secret: SecretStr | None) -> bytes:
    """The signing key; empty without a secret, or for invalid base64."""
    text = secret.get_secret_value() if secret else ""
    if not text.startswith(_PREFIX):
        return text.encode()
    encoded = text.removeprefix(_PREFIX)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return b""
