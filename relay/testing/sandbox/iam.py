"""The IAM of the sandbox: issues and checks tokens and access keys.

Wire format: Keystone v3 as in "obtaining a user token through password authentication" of Huawei
Cloud. The response has the token in the header X-Subject-Token; a token is valid for 24 hours.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any

from relay.model import Json
from relay.testing.sandbox.replies import RequestRefused, SandboxReply

DOMAIN_ID = "sandbox-domain"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class User:
    """The user that can request tokens, and the only project."""

    name: str
    password: str
    domain: str
    region: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token. Without a `region` it has no project, and FunctionGraph rejects it."""

    expires: datetime
    region: str | None


class Iam:
    """Issues tokens and remembers them."""

    def __init__(self, user: User, lifetime: timedelta, clock: Callable[[], datetime]) -> None:
        self._user = user
        self._lifetime = lifetime
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    @property
    def region(self) -> str:
        return self._user.region

    def issue(self, region: str | None) -> tuple[str, Token]:
        """Issue a token. It is as long as a real token, because gateways limit headers."""
        text = "MII" + secrets.token_urlsafe(1500)
        token = Token(self._clock() + self._lifetime, region)
        with self._lock:
            self._tokens[text] = token
        return text, token

    def find(self, text: str) -> Token | None:
        with self._lock:
            return self._tokens.get(text)

    def expire_all(self) -> None:
        """Expire every token, as after a change of the password."""
        past = self._clock() - timedelta(seconds=1)
        with self._lock:
            self._tokens = {text: Token(past, token.region) for text, token in self._tokens.items()}

    def authenticate(self, fields: Json) -> SandboxReply:
        """Handle POST /v3/auth/tokens: 201, or 400 and 401 with an IAM error body."""
        identity = _get(fields, "auth", "identity")
        if _get(identity, "methods") != ["password"]:
            raise _iam_error(400, "Bad Request", "The request body is invalid")
        user = _get(identity, "password", "user")
        given = (_get(user, "name"), _get(user, "password"), _get(user, "domain", "name"))
        known = (self._user.name, self._user.password, self._user.domain)
        if not all(map(_equals, given, known)):
            raise _iam_error(401, "Unauthorized", "The username or password is wrong.")
        project = _get(fields, "auth", "scope", "project")
        region = self._region(project) if project else None
        text, token = self.issue(region)
        return SandboxReply(201, {"token": self._describe(token)}, {"X-Subject-Token": text})

    def projects(self, name: str | None) -> SandboxReply:
        """Handle GET /v3/projects: the only project, or none if `name` is another region."""
        user = self._user
        project = {"id": user.project_id, "name": user.region, "enabled": True}
        listed = [project] if name in (None, user.region) else []
        return SandboxReply(200, {"projects": listed, "links": {}})

    def domains(self) -> SandboxReply:
        """Handle GET /v3/auth/domains."""
        domain = {"id": DOMAIN_ID, "name": self._user.domain, "enabled": True}
        return SandboxReply(200, {"domains": [domain], "links": {}})

    def _region(self, project: Any) -> str:
        if _get(project, "id") == self._user.project_id:
            return self._user.region
        name = _get(project, "name")
        if not isinstance(name, str):
            raise _iam_error(401, "Unauthorized", "The project is unknown")
        return name

    def _describe(self, token: Token) -> Json:
        domain = {"name": self._user.domain, "id": DOMAIN_ID}
        project = {"name": token.region, "id": self._user.project_id, "domain": domain}
        return {
            "expires_at": token.expires.astimezone(UTC).strftime(TIME),
            "issued_at": self._clock().astimezone(UTC).strftime(TIME),
            "methods": ["password"],
            "catalog": [],
            "roles": [],
            "user": {"name": self._user.name, "id": "sandbox-user", "domain": domain},
            **({"project": project} if token.region else {"domain": domain}),
        }


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key. A temporary key has a `security_token` and an expiry time."""

    id: str
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    expires: datetime | None = None


class KeyRing:
    """The access key of the user and all temporary keys."""

    def __init__(self, permanent: AccessKey, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._keys = {permanent.id: permanent}
        self._lock = threading.Lock()

    def find(self, access_key: str) -> AccessKey | None:
        with self._lock:
            return self._keys.get(access_key)

    def is_valid_for(self, key: AccessKey, span: timedelta) -> bool:
        """Return whether the key stays valid for `span`."""
        known = self.find(key.id)
        return bool(known and (not known.expires or known.expires - self._clock() > span))

    def issue_temporary(self, lifetime: timedelta) -> AccessKey:
        """Issue a temporary key with a security token as long as a real token."""
        name, secret = "HST" + secrets.token_hex(8).upper(), secrets.token_hex(20)
        key = AccessKey(name, secret, "gQ" + secrets.token_urlsafe(900), self._clock() + lifetime)
        with self._lock:
            self._keys[name] = key
        return key

    def expire_temporary(self) -> None:
        """Expire every temporary key."""
        past = self._clock() - timedelta(seconds=1)
        with self._lock:
            self._keys = {
                name: replace(key, expires=past) if key.expires else key
                for name, key in self._keys.items()
            }


def _get(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _equals(given: Any, known: str) -> bool:
    return isinstance(given, str) and compare_digest(given.encode(), known.encode())


def _iam_error(status: int, title: str, message: str) -> RequestRefused:
    return RequestRefused(
        SandboxReply(status, {"error": {"code": status, "title": title, "message": message}})
    )
