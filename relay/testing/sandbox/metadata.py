"""The metadata service of the sandbox: issues temporary keys by the agency of the server.

Wire format: as requested by the official SDK (IMDSv2: PUT for a token, then GET with the token;
with only v1 the PUT is 405). Inferred: with v2 a GET without a token is 401; a key is returned
until 40 minutes before the expiry, then a new key.
"""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, timedelta

from relay.testing.sandbox.exchange import Exchange
from relay.testing.sandbox.iam import TIME, AccessKey, KeyRing
from relay.testing.sandbox.replies import RequestRefused, SandboxReply

RENEW_BEFORE = timedelta(minutes=40)


class MetadataService:
    """Without a `lifetime` of keys the server has no agency. `version` is 1 or 2."""

    def __init__(self, keys: KeyRing, lifetime: timedelta | None, version: int) -> None:
        self._keys = keys
        self._lifetime = lifetime
        self._version = version
        self._tokens: set[str] = set()
        self._current: AccessKey | None = None
        self._lock = threading.Lock()

    def token(self, exchange: Exchange) -> SandboxReply:
        """Handle PUT /meta-data/latest/api/token."""
        seconds = exchange.headers.get("X-Metadata-Token-Ttl-Seconds", "")
        if self._version == 1:
            raise _http_error(405, "Method Not Allowed")
        if not seconds.isdecimal() or not 1 <= int(seconds) <= 21600:
            raise _http_error(400, "Bad Request")
        token = secrets.token_urlsafe(40)
        with self._lock:
            self._tokens.add(token)
        return _text(200, token)

    def key(self, exchange: Exchange) -> SandboxReply:
        """Handle GET /openstack/latest/securitykey."""
        with self._lock:
            if self._version == 2 and exchange.headers.get("X-Metadata-Token") not in self._tokens:
                raise _http_error(401, "Unauthorized")
            if self._lifetime is None:
                raise _http_error(401, "Please configure Cloud Service Agency first")
            key = self._current
            if key is None or not self._keys.is_valid_for(
                key, min(RENEW_BEFORE, self._lifetime / 10)
            ):
                key = self._current = self._keys.issue_temporary(self._lifetime)
        expires = key.expires.astimezone(UTC).strftime(TIME) if key.expires else ""
        fields = {"access": key.id, "secret": key.secret, "securitytoken": key.security_token}
        return SandboxReply(200, {"credential": {**fields, "expires_at": expires}})


def _text(status: int, text: str) -> SandboxReply:
    headers = {"Content-Type": "text/plain", "Content-Length": str(len(text))}
    return SandboxReply(status, None, headers, [text.encode()])


def _http_error(status: int, text: str) -> RequestRefused:
    return RequestRefused(_text(status, text))
