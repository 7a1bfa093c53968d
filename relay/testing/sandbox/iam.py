"""The sandbox's IAM: gives tokens for a user's password, and knows which of them still hold.

Wire format: Keystone v3 as in Huawei Cloud's "obtaining a user token through password
authentication"; the token travels in the answer's X-Subject-Token header and lives 24 hours.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Any

from relay.model import Json
from relay.testing.sandbox.answers import Refused, SandboxReply

DOMAIN_ID = "sandbox-domain"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class User:
    """Who may ask for tokens, and the one project there is."""

    name: str
    password: str
    domain: str
    region: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Token:
    """`region` None: not scoped to a project, which FunctionGraph does not accept."""

    expires: datetime
    region: str | None


class Iam:
    """Keeps the tokens that it gave out."""

    def __init__(self, user: User, life: timedelta, clock: Callable[[], datetime]) -> None:
        self._user = user
        self._life = life
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._guard = threading.Lock()

    @property
    def region(self) -> str:
        return self._user.region

    def issue(self, region: str | None) -> tuple[str, Token]:
        """A new token; as long as real ones, since header limits are part of the truth."""
        text = "MII" + secrets.token_urlsafe(1500)
        token = Token(self._clock() + self._life, region)
        with self._guard:
            self._tokens[text] = token
        return text, token

    def find(self, text: str) -> Token | None:
        with self._guard:
            return self._tokens.get(text)

    def expire_all(self) -> None:
        """As after a change of password: every token must be renewed."""
        past = self._clock() - timedelta(seconds=1)
        with self._guard:
            self._tokens = {text: Token(past, one.region) for text, one in self._tokens.items()}

    def authenticate(self, fields: Json) -> SandboxReply:
        """Answers POST /v3/auth/tokens: 201, or 400 and 401 with IAM's own error body."""
        identity = _at(fields, "auth", "identity")
        if _at(identity, "methods") != ["password"]:
            raise _refused(400, "Bad Request", "The request body is invalid")
        user = _at(identity, "password", "user")
        given = (_at(user, "name"), _at(user, "password"), _at(user, "domain", "name"))
        known = (self._user.name, self._user.password, self._user.domain)
        if not all(_same(one, other) for one, other in zip(given, known, strict=True)):
            raise _refused(401, "Unauthorized", "The username or password is wrong.")
        project = _at(fields, "auth", "scope", "project")
        region = self._region(project) if project else None
        text, token = self.issue(region)
        return SandboxReply(201, {"token": self._describe(token)}, {"X-Subject-Token": text})

    def projects(self, name: str | None) -> SandboxReply:
        """Answers GET /v3/projects: the one there is, unless `name` asks for another region's."""
        user = self._user
        project = {"id": user.project_id, "name": user.region, "enabled": True}
        listed = [project] if name in (None, user.region) else []
        return SandboxReply(200, {"projects": listed, "links": {}})

    def domains(self) -> SandboxReply:
        """Answers GET /v3/auth/domains: the account."""
        domain = {"id": DOMAIN_ID, "name": self._user.domain, "enabled": True}
        return SandboxReply(200, {"domains": [domain], "links": {}})

    def _region(self, project: Any) -> str:
        if _at(project, "id") == self._user.project_id:
            return self._user.region
        name = _at(project, "name")
        if not isinstance(name, str):
            raise _refused(401, "Unauthorized", "The project is unknown")
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


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _same(given: Any, known: str) -> bool:
    return isinstance(given, str) and compare_digest(given.encode(), known.encode())


def _refused(status: int, title: str, message: str) -> Refused:
    return Refused(
        SandboxReply(status, {"error": {"code": status, "title": title, "message": message}})
    )
