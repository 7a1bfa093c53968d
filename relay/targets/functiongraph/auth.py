"""Who we are to FunctionGraph: a signature for small requests, a token of IAM for big ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta

import requests
from requests.auth import AuthBase

from relay.config.redaction import hide
from relay.errors import PermanentFailure, RelayError, TemporaryFailure, Throttled
from relay.model import Json, Localized
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import CachedCredential, Clock, ExpiringValue
from relay.targets.functiongraph.access_keys import Keys
from relay.targets.functiongraph.error_hints import TOO_LARGE_FOR_A_SIGNATURE
from relay.targets.functiongraph.errors import (
    STALE_KEY,
    STALE_TOKEN,
    TOO_LARGE_FOR_SIGNED,
    ApiResponse,
    read_answer,
)
from relay.targets.functiongraph.metadata_service import Metadata
from relay.targets.functiongraph.settings import FunctionGraphSettings
from relay.targets.functiongraph.signing import UNSIGNED, AccessKey, authorization, date_of, host_of

SIGNED_LIMIT = 12_000_000
"""Bytes of a body that may be signed ("up to 12M" on Huawei's API pages); more needs a token."""


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
        self.key = key
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
        if self.key.security_token:
            headers["X-Security-Token"] = self.key.security_token
        if "Content-Type" in request.headers:
            headers["Content-Type"] = request.headers["Content-Type"]
        request.headers.update(headers)
        request.headers["Authorization"] = authorization(
            self.key, request.method or "GET", url, headers
        )
        return request


class Credentials:
    """Chooses how a request is authenticated, by its size and by what is configured."""

    def __init__(
        self, settings: FunctionGraphSettings, outbound: HttpClientFactory, clock: Clock
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._session = outbound.session(guarded=False, reuse=False)
        self._metadata = Metadata(settings.metadata_endpoint, outbound, clock)
        self._keys = Keys(settings.key, self._metadata, clock) if settings.by_key else None
        self._tokens = CachedCredential(self._fetch, clock) if settings.by_token else None

    def check(self, size: int) -> None:
        """Raises PermanentFailure when no configured way can carry a body of that many bytes."""
        if size > SIGNED_LIMIT and not self._tokens:
            raise PermanentFailure(
                "functiongraph.needs_token",
                Localized(
                    f"The request has {size / 1e6:.1f} MB; with an access key 12 MB can be sent",
                    f"请求大小为 {size / 1e6:.1f} MB，使用 AK/SK 时最多只能发送 12 MB",
                ),
                TOO_LARGE_FOR_A_SIGNATURE,
            )

    def choose(self, size: int) -> AuthBase:
        """The way for a body of that many bytes; may fetch a key or a token."""
        self.check(size)
        if self._keys and size <= SIGNED_LIMIT:
            return self._by_key(self._keys.get().key)
        return self._by_token()

    def ways(self) -> Iterator[tuple[str, AuthBase]]:
        """Every configured way, one after the other, and in words from where it has its secret."""
        if self._keys:
            found = self._keys.get()
            yield f"access key from {found.source}", self._by_key(found.key)
        if self._tokens:
            yield "token for iam_user from relay.toml", self._by_token()

    def other(self, used: AuthBase, answer: ApiResponse) -> AuthBase | None:
        """What may help after this answer: a new token or key, a token instead of a signature."""
        if self._tokens and isinstance(used, TokenAuth) and answer.key in STALE_TOKEN:
            return TokenAuth(self._tokens.renew(used.token))
        if self._tokens and isinstance(used, KeyAuth) and answer.key == TOO_LARGE_FOR_SIGNED:
            return self._by_token()
        if self._keys and isinstance(used, KeyAuth) and answer.key in STALE_KEY:
            new = self._keys.renew(used.key)
            return self._by_key(new) if new else None
        return None

    def close(self) -> None:
        self._session.close()
        self._metadata.close()

    def _by_key(self, key: AccessKey) -> KeyAuth:
        return KeyAuth(key, self._settings.project_id, self._clock)

    def _by_token(self) -> TokenAuth:
        if not self._tokens:
            raise ValueError("Settings let no target through without credentials")
        return TokenAuth(self._tokens.get())

    def _fetch(self) -> ExpiringValue[str]:
        """A token of IAM (POST /v3/auth/tokens)."""
        try:
            response = self._session.post(
                f"{self._settings.iam_url}/v3/auth/tokens?nocatalog=true", json=self._question()
            )
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
        token = response.headers.get("X-Subject-Token", "")
        if response.status_code != 201 or not token:
            raise _iam_error(read_answer(response, self._clock()))
        hide(token)
        return ExpiringValue(token, _life(response, self._clock()))

    def _question(self) -> Json:
        settings = self._settings
        user = {
            "name": settings.iam_user,
            "password": settings.iam_password.get_secret_value(),
            "domain": {"name": settings.iam_domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": {"id": settings.project_id}}}}


def _sha256(body: object) -> str:
    if body is None:
        body = b""
    if isinstance(body, str):
        body = body.encode()
    return hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else UNSIGNED


def _life(response: requests.Response, now: datetime) -> timedelta:
    try:
        token = response.json()["token"]
        # Both by IAM's clock, so that ours may be off.
        begins = datetime.fromisoformat(token.get("issued_at") or now.isoformat())
        return max(datetime.fromisoformat(token["expires_at"]) - begins, timedelta(0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return timedelta(hours=1)  # tokens live 24 h; not knowing how long, ask sooner


def _iam_error(answer: ApiResponse) -> RelayError:
    code = f"functiongraph.iam.{answer.status}"
    message = Localized(f"IAM gave no token: {answer}", f"IAM 未签发 Token: {answer}")
    if answer.status == 429:
        return Throttled(code, message, answer=str(answer), retry_after=answer.retry_after)
    if answer.status in (201, 408) or answer.status >= 500:
        return TemporaryFailure(code, message, answer=str(answer), retry_after=answer.retry_after)
    return PermanentFailure(
        code,
        message,
        Localized(
            "Check iam_user, iam_password, iam_domain, region and project_id. An account with a"
            " HUAWEI ID gets no token: make an IAM user for Relay.",
            "请检查 iam_user、iam_password、iam_domain、region 与 project_id。"
            "华为账号（HUAWEI ID）无法获取 Token: 请为 Relay 创建 IAM 用户。",
        ),
        answer=str(answer),
    )
