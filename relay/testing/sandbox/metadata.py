"""The sandbox's metadata service: keys for the server that "runs" there, by its agency.

Wire format: as the official SDK asks for them (IMDSv2: PUT for a token, then GET with it; where
there is v1 only, the PUT is 405). Inferred: with v2 a GET without its token is 401; a key is lent
until 40 minutes before its end, then there is another one.
"""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, timedelta

from relay.testing.sandbox.answers import Refused, SandboxReply
from relay.testing.sandbox.exchange import Exchange
from relay.testing.sandbox.iam import TIME
from relay.testing.sandbox.keys import Key, KeyRing

BEFORE_THE_END = timedelta(minutes=40)


class Metadata:
    """`life` of the keys; None: this server has no agency. `version` is 1 or 2."""

    def __init__(self, keys: KeyRing, life: timedelta | None, version: int) -> None:
        self._keys = keys
        self._life = life
        self._version = version
        self._tokens: set[str] = set()
        self._lent: Key | None = None
        self._guard = threading.Lock()

    def token(self, exchange: Exchange) -> SandboxReply:
        """Answers PUT /meta-data/latest/api/token."""
        seconds = exchange.header("X-Metadata-Token-Ttl-Seconds")
        if self._version == 1:
            raise _refused(405, "Method Not Allowed")
        if not seconds.isdecimal() or not 1 <= int(seconds) <= 21600:
            raise _refused(400, "Bad Request")
        token = secrets.token_urlsafe(40)
        with self._guard:
            self._tokens.add(token)
        return _text(200, token)

    def key(self, exchange: Exchange) -> SandboxReply:
        """Answers GET /openstack/latest/securitykey."""
        with self._guard:
            if self._version == 2 and exchange.header("X-Metadata-Token") not in self._tokens:
                raise _refused(401, "Unauthorized")
            if self._life is None:
                raise _refused(401, "Please configure Cloud Service Agency first")
            key = self._lent
            if key is None or not self._keys.is_good(key, min(BEFORE_THE_END, self._life / 10)):
                key = self._lent = self._keys.lend(self._life)
        expires = key.expires.astimezone(UTC).strftime(TIME) if key.expires else ""
        told = {"access": key.id, "secret": key.secret, "securitytoken": key.security_token}
        return SandboxReply(200, {"credential": {**told, "expires_at": expires}})


def _text(status: int, text: str) -> SandboxReply:
    headers = {"Content-Type": "text/plain", "Content-Length": str(len(text))}
    return SandboxReply(status, None, headers, [text.encode()])


def _refused(status: int, text: str) -> Refused:
    return Refused(_text(status, text))
