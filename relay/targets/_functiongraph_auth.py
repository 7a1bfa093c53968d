"""Who we are to FunctionGraph: a signature for small requests, a token of IAM for big ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from threading import Lock

import requests
from requests.auth import AuthBase

from relay.errors import Busy, PermanentFailure, RelayError, TemporaryFailure
from relay.model import Json, Text
from relay.outbound import translate
from relay.signing import UNSIGNED, AccessKey, authorization, date_of, host_of
from relay.targets._functiongraph_errors import (
    STALE_TOKEN,
    TOO_LARGE_FOR_SIGNED,
    Answer,
    read_answer,
)
from relay.targets._functiongraph_hints import TOO_LARGE_FOR_A_SIGNATURE
from relay.targets._functiongraph_settings import FunctionGraphSettings

SIGNED_LIMIT = 12_000_000
"""Bytes of a body that may be signed ("up to 12M" on Huawei's API pages); more needs a token."""

RENEW_BEFORE = timedelta(minutes=30)
REFUSAL_HOLDS = timedelta(seconds=60)
"""How long a refused password is not tried again: IAM locks users after a few failures."""

Clock = Callable[[], datetime]


class TokenAuth(AuthBase):
    """Puts a token of IAM on a request."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Auth-Token"] = self.token
        return request


class KeyAuth(AuthBase):
    """Signs a request; the body only when it is at hand whole."""

    def __init__(self, key: AccessKey, project_id: str, clock: Clock) -> None:
        self._key = key
        self._project_id = project_id
        self._clock = clock

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        headers = {
            "Host": host_of(url),
            "X-Sdk-Date": date_of(self._clock()),
            "X-Sdk-Content-Sha256": _sha256(request.body),
            "X-Project-Id": self._project_id,
        }
        if self._key.security_token:
            headers["X-Security-Token"] = self._key.security_token
        if "Content-Type" in request.headers:
            headers["Content-Type"] = request.headers["Content-Type"]
        request.headers.update(headers)
        request.headers["Authorization"] = authorization(
            self._key, request.method or "GET", url, headers
        )
        return request


class Tokens:
    """One token for all threads, fetched when needed (POST /v3/auth/tokens of IAM)."""

    def __init__(
        self, settings: FunctionGraphSettings, session: requests.Session, clock: Clock
    ) -> None:
        self._settings = settings
        self._session = session
        self._clock = clock
        self._lock = Lock()
        self._token = ""
        self._renew_at: datetime | None = None
        self._refused: tuple[datetime, Answer] | None = None

    def get(self) -> str:
        """A token that is good for a while; the errors of the tree when there is none to be had."""
        with self._lock:
            if self._renew_at is None or self._clock() >= self._renew_at:
                self._fetch()
            return self._token

    def renew(self, stale: str) -> str:
        """Another token than `stale`; only the first of many threads that ask fetches it."""
        with self._lock:
            if self._token == stale:
                self._fetch()
            return self._token

    def _fetch(self) -> None:
        now = self._clock()
        if self._refused and now < self._refused[0]:
            raise _iam_error(self._refused[1])
        try:
            response = self._session.post(
                f"{self._settings.iam_url}/v3/auth/tokens?nocatalog=true", json=self._question()
            )
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
        token = response.headers.get("X-Subject-Token", "")
        if response.status_code != 201 or not token:
            answer = read_answer(response, now)
            failure = _iam_error(answer)
            if isinstance(failure, PermanentFailure):
                self._refused = (now + REFUSAL_HOLDS, answer)
            raise failure
        life = _expires(response, now) - now
        self._token, self._refused = token, None
        self._renew_at = now + life - min(RENEW_BEFORE, life / 10)

    def _question(self) -> Json:
        settings = self._settings
        user = {
            "name": settings.iam_user,
            "password": settings.iam_password.get_secret_value(),
            "domain": {"name": settings.iam_domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": {"id": settings.project_id}}}}


class Credentials:
    """Chooses how a request is authenticated, by its size and by what is configured."""

    def __init__(
        self, settings: FunctionGraphSettings, session: requests.Session, clock: Clock
    ) -> None:
        key = settings.key
        self.signed = KeyAuth(key, settings.project_id, clock) if key else None
        self.tokens = Tokens(settings, session, clock) if settings.by_token else None

    def check(self, size: int) -> None:
        """Raises PermanentFailure when no configured way can carry a body of that many bytes."""
        if size > SIGNED_LIMIT and not self.tokens:
            raise PermanentFailure(
                "functiongraph.needs_token",
                Text(
                    f"The request has {size / 1e6:.1f} MB; with an access key 12 MB can be sent",
                    f"请求大小为 {size / 1e6:.1f} MB, 使用 AK/SK 时最多只能发送 12 MB",
                ),
                TOO_LARGE_FOR_A_SIGNATURE,
            )

    def choose(self, size: int) -> AuthBase:
        """The way for a body of that many bytes; may fetch a token."""
        self.check(size)
        if self.signed and size <= SIGNED_LIMIT:
            return self.signed
        return self._by_token()

    def ways(self) -> Iterator[tuple[str, AuthBase]]:
        """Every configured way with its name, one after the other."""
        if self.signed:
            yield "access key", self.signed
        if self.tokens:
            yield "token", self._by_token()

    def other(self, used: AuthBase, answer: Answer) -> AuthBase | None:
        """What may help after this answer: a new token, or a token instead of a signature."""
        if self.tokens and isinstance(used, TokenAuth) and answer.key in STALE_TOKEN:
            return TokenAuth(self.tokens.renew(used.token))
        if self.tokens and used is self.signed and answer.key == TOO_LARGE_FOR_SIGNED:
            return self._by_token()
        return None

    def _by_token(self) -> TokenAuth:
        if not self.tokens:
            raise ValueError("Settings let no target through without credentials")
        return TokenAuth(self.tokens.get())


def _sha256(body: object) -> str:
    if body is None:
        body = b""
    if isinstance(body, str):
        body = body.encode()
    return hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else UNSIGNED


def _expires(response: requests.Response, now: datetime) -> datetime:
    try:
        expires = datetime.fromisoformat(response.json()["token"]["expires_at"])
        return expires if expires > now else now
    except (ValueError, KeyError, TypeError):
        return now + timedelta(hours=1)  # tokens live 24 h; not knowing how long, ask sooner


def _iam_error(answer: Answer) -> RelayError:
    code = f"functiongraph.iam.{answer.status}"
    message = Text(f"IAM gave no token: {answer}", f"IAM 未签发 Token: {answer}")
    if answer.status == 429:
        return Busy(code, message, answer=str(answer), retry_after=answer.retry_after)
    if answer.status in (201, 408) or answer.status >= 500:
        return TemporaryFailure(code, message, answer=str(answer), retry_after=answer.retry_after)
    return PermanentFailure(
        code,
        message,
        Text(
            "Check iam_user, iam_password, iam_domain, region and project_id. An account with a"
            " HUAWEI ID gets no token: make an IAM user for Relay.",
            "请检查 iam_user、iam_password、iam_domain、region 与 project_id。"
            "华为账号(HUAWEI ID)无法获取 Token: 请为 Relay 创建 IAM 用户。",
        ),
        answer=str(answer),
    )
