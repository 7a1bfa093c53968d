"""Authenticates requests to FunctionGraph: small ones by signature, large ones by an IAM token."""

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
from relay.targets.functiongraph.access_keys import AccessKeyProvider
from relay.targets.functiongraph.error_hints import LOCKED, TOO_LARGE_FOR_A_SIGNATURE
from relay.targets.functiongraph.errors import (
    STALE_KEY,
    STALE_TOKEN,
    TOO_LARGE_FOR_SIGNED,
    ApiResponse,
    read_response,
)
from relay.targets.functiongraph.metadata_service import MetadataService
from relay.targets.functiongraph.settings import FunctionGraphSettings
from relay.targets.functiongraph.signing import (
    UNSIGNED,
    AccessKey,
    authorization,
    host_header,
    sdk_date,
)

SIGNED_LIMIT = 12_000_000
"""Largest signed body in bytes ("up to 12M" in Huawei's API pages); larger ones need a token."""


class TokenAuth(AuthBase):
    """Adds an IAM token to a request."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Auth-Token"] = self.token
        return request


class KeyAuth(AuthBase):
    """Signs a request. A streamed body is not part of the signature."""

    def __init__(self, key: AccessKey, project_id: str, clock: Clock) -> None:
        self.key = key
        self._project_id = project_id
        self._clock = clock

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        body = request.body or b""
        digest = hashlib.sha256(body).hexdigest() if isinstance(body, bytes) else UNSIGNED
        headers = {
            "Host": host_header(url),
            "X-Sdk-Date": sdk_date(self._clock()),
            "X-Sdk-Content-Sha256": digest,
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
    """Chooses the authentication of a request by body size and settings."""

    def __init__(
        self, settings: FunctionGraphSettings, outbound: HttpClientFactory, clock: Clock
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._session = outbound.session(guarded=False, reuse=False)
        self._metadata = MetadataService(settings.metadata_endpoint, outbound, clock)
        self._keys = (
            AccessKeyProvider(settings.key, self._metadata, clock) if settings.uses_key else None
        )
        self._tokens = CachedCredential(self._fetch_token, clock) if settings.uses_token else None

    def check(self, size: int) -> None:
        """Raise PermanentFailure if no configured credential allows a body of `size` bytes."""
        if size > SIGNED_LIMIT and not self._tokens:
            raise PermanentFailure(
                "functiongraph.needs_token",
                Localized(
                    f"The request has {size / 1e6:.1f} MB; the limit with an access key is 12 MB",
                    f"请求大小为 {size / 1e6:.1f} MB，使用 AK/SK 时上限为 12 MB",
                ),
                TOO_LARGE_FOR_A_SIGNATURE,
            )

    def choose(self, size: int) -> AuthBase:
        """Return the authentication for a body of `size` bytes; may fetch a key or a token."""
        self.check(size)
        if self._keys and size <= SIGNED_LIMIT:
            return self._key_auth(self._keys.get().key)
        return self._token_auth()

    def credential_options(self) -> Iterator[tuple[str, AuthBase]]:
        """Yield each configured credential with a description of its origin."""
        if self._keys:
            source = self._keys.get()
            yield f"access key from {source.name}", self._key_auth(source.key)
        if self._tokens:
            yield "token for iam_user from relay.toml", self._token_auth()

    def fallback_auth(self, used: AuthBase, response: ApiResponse) -> AuthBase | None:
        """Return other credentials to retry with after this error response, or None."""
        if response.asks_to_wait:
            return None  # a locked key stays locked longer if it is used
        if self._tokens and isinstance(used, TokenAuth) and response.key in STALE_TOKEN:
            return TokenAuth(self._tokens.renew(used.token))
        if self._tokens and isinstance(used, KeyAuth) and response.key == TOO_LARGE_FOR_SIGNED:
            return self._token_auth()
        if self._keys and isinstance(used, KeyAuth) and response.key in STALE_KEY:
            key = self._keys.renew(used.key)
            return self._key_auth(key) if key else None
        return None

    def close(self) -> None:
        self._session.close()
        self._metadata.close()

    def _key_auth(self, key: AccessKey) -> KeyAuth:
        return KeyAuth(key, self._settings.project_id, self._clock)

    def _token_auth(self) -> TokenAuth:
        if not self._tokens:
            raise ValueError("the settings were validated without credentials")
        return TokenAuth(self._tokens.get())

    def _fetch_token(self) -> ExpiringValue[str]:
        """Request a token from IAM (POST /v3/auth/tokens)."""
        try:
            response = self._session.post(
                f"{self._settings.iam_url}/v3/auth/tokens?nocatalog=true",
                json=self._token_request(),
            )
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
        token = response.headers.get("X-Subject-Token", "")
        if response.status_code != 201 or not token:
            raise _iam_error(read_response(response, self._clock(), locked_statuses=(401, 403)))
        hide(token)
        return ExpiringValue(token, _lifetime(response, self._clock()))

    def _token_request(self) -> Json:
        settings = self._settings
        user = {
            "name": settings.iam_user,
            "password": settings.iam_password.get_secret_value(),
            "domain": {"name": settings.iam_domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": {"id": settings.project_id}}}}


def _lifetime(response: requests.Response, now: datetime) -> timedelta:
    try:
        token = response.json()["token"]
        # Both times come from IAM, so the result does not depend on the local clock.
        issued = datetime.fromisoformat(token.get("issued_at") or now.isoformat())
        return max(datetime.fromisoformat(token["expires_at"]) - issued, timedelta(0))
    except (ValueError, KeyError, TypeError, AttributeError):
        return timedelta(hours=1)  # a token lives 24 h; without a valid time, renew it early


def _iam_error(response: ApiResponse) -> RelayError:
    code = f"functiongraph.iam.{response.status}"
    message = Localized(f"IAM issued no token: {response}", f"IAM 未签发 Token：{response}")
    if response.asks_to_wait and response.status != 503:
        hint = LOCKED if response.is_locked else ""
        return Throttled(
            code, message, hint, answer=str(response), retry_after=response.retry_after
        )
    if response.status in (201, 408) or response.status >= 500:
        return TemporaryFailure(
            code, message, answer=str(response), retry_after=response.retry_after
        )
    return PermanentFailure(
        code,
        message,
        Localized(
            "Check iam_user, iam_password, iam_domain, region and project_id. An account with a"
            " HUAWEI ID cannot get a token: create an IAM user for Relay.",
            "请检查 iam_user、iam_password、iam_domain、region 与 project_id。"
            "华为账号（HUAWEI ID）无法获取 Token，请为 Relay 创建 IAM 用户。",
        ),
        answer=str(response),
    )
