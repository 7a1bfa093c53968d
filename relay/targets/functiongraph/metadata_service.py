"""Reads temporary access keys for this server from the metadata service of Huawei Cloud.

Wire format: "Obtaining Metadata" of the ECS user guide: PUT /meta-data/latest/api/token (IMDSv2;
404, 405 and 503 mean that only v1 exists), then GET /openstack/latest/securitykey.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from relay.config.text import excerpt
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.responses import retry_after
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import Clock
from relay.targets.functiongraph.signing import AccessKey

ENDPOINT = "http://169.254.169.254"
CONNECT_TIMEOUT, READ_TIMEOUT = 1.0, 3.0
"""Seconds. Short, because packets to the address are dropped where the service does not exist."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class MetadataService:
    """A client of the metadata service without a cache. Thread-safe."""

    def __init__(self, endpoint: str, outbound: HttpClientFactory, clock: Clock) -> None:
        self._url = endpoint or ENDPOINT
        self.name = f"the metadata service {self._url}"
        self._clock = clock
        short_timeouts = HttpClientFactory(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            user_agent=outbound.user_agent,
        )
        self._session = short_timeouts.session(guarded=False, reuse=False)
        self._session.trust_env = False  # link-local: a proxy would query another server

    def key(self) -> tuple[AccessKey, timedelta]:
        """Return a temporary key and how long it is valid.

        Raises PermanentFailure if the service rejects the request, because the server has no
        agency, and TemporaryFailure if there is no usable response.
        """
        token = self._token()
        headers = {"X-Metadata-Token": token} if token else {}
        response = self._request("GET", "/openstack/latest/securitykey", headers)
        if response.status_code != 200:
            raise self._error(response)
        try:
            return self._parse(response.json()["credential"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TemporaryFailure(
                "functiongraph.metadata",
                Localized(f"{self.name} returned no key", f"元数据服务 {self._url} 未返回密钥"),
            ) from None

    def close(self) -> None:
        self._session.close()

    def _token(self) -> str:
        response = self._request(
            "PUT", "/meta-data/latest/api/token", {"X-Metadata-Token-Ttl-Seconds": "21600"}
        )
        token = response.text.strip()
        if response.status_code == 200 and _TOKEN.fullmatch(token):
            return token
        if response.status_code in (200, 404, 405, 503):
            return ""  # only v1 exists
        raise self._error(response)

    def _request(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.request(method, self._url + path, headers=headers)
        except requests.RequestException as error:
            raise TemporaryFailure(
                "functiongraph.metadata",
                Localized(f"{self.name} did not respond", f"元数据服务 {self._url} 无响应"),
            ) from error

    def _error(self, response: requests.Response) -> RelayError:
        summary = f"{response.status_code} {excerpt(response.text, 120)}".strip()
        message = Localized(
            f"{self.name} returned {summary}", f"元数据服务 {self._url} 返回 {summary}"
        )
        if response.status_code in (408, 429) or response.status_code >= 500:
            wait = retry_after(response, self._clock())
            return TemporaryFailure("functiongraph.metadata", message, retry_after=wait)
        return PermanentFailure(
            "functiongraph.metadata",
            message,
            Localized(
                "Or assign this server an agency with permission to use FunctionGraph.",
                "也可为本服务器配置具有 FunctionGraph 权限的委托。",
            ),
        )

    def _parse(self, credential: Any) -> tuple[AccessKey, timedelta]:
        fields = (credential[name] for name in ("access", "secret", "securitytoken"))
        values = [value for value in fields if isinstance(value, str) and _TOKEN.fullmatch(value)]
        if len(values) != 3:
            raise ValueError("a temporary key has three parts")
        return AccessKey(*values), self._lifetime(credential.get("expires_at"))

    def _lifetime(self, expires_at: Any) -> timedelta:
        try:
            expiry = datetime.fromisoformat(expires_at)
        except (ValueError, TypeError):
            return timedelta(hours=1)  # without a valid time, renew it early
        expiry = expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)
        return max(expiry - self._clock(), timedelta(0))
