"""The cloud's metadata service: temporary access keys for the server that Relay runs on.

Wire format: "Obtaining Metadata" of the ECS user guide: PUT /meta-data/latest/api/token (IMDSv2;
404, 405 and 503 mean that there is only v1), then GET /openstack/latest/securitykey.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.responses import cleaned, retry_after
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import Clock
from relay.targets.functiongraph.signing import AccessKey

ENDPOINT = "http://169.254.169.254"
CONNECT_TIMEOUT, READ_TIMEOUT = 1.0, 3.0
"""Seconds: where there is no such service, packets to its address vanish."""

_ONLY_V1 = (404, 405, 503)
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_UNKNOWN_LIFE = timedelta(hours=1)


class Metadata:
    """Asks the metadata service; it keeps nothing. For many threads."""

    def __init__(self, endpoint: str, outbound: HttpClientFactory, clock: Clock) -> None:
        self._url = endpoint or ENDPOINT
        self.name = f"the metadata service {self._url}"
        self._clock = clock
        quick = HttpClientFactory(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            user_agent=outbound.user_agent,
        )
        self._session = quick.session(guarded=False, reuse=False)
        self._session.trust_env = False  # its address means this server: never through a proxy

    def key(self) -> tuple[AccessKey, timedelta]:
        """A temporary key and how long it lives.

        Raises TemporaryFailure when nothing answers sensibly, PermanentFailure when the service
        says that this server has no agency, and so no key.
        """
        token = self._token()
        headers = {"X-Metadata-Token": token} if token else {}
        response = self._asked("GET", "/openstack/latest/securitykey", headers)
        if response.status_code != 200:
            raise self._refused(response)
        try:
            return self._read(response.json()["credential"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise TemporaryFailure(
                "functiongraph.metadata",
                Localized(f"{self.name} gave no key", f"元数据服务 {self._url} 未返回密钥"),
            ) from None

    def close(self) -> None:
        self._session.close()

    def _token(self) -> str:
        response = self._asked(
            "PUT", "/meta-data/latest/api/token", {"X-Metadata-Token-Ttl-Seconds": "21600"}
        )
        token = response.text.strip()
        if response.status_code == 200 and _TOKEN.fullmatch(token):
            return token
        if response.status_code in (200, *_ONLY_V1):
            return ""
        raise self._refused(response)

    def _asked(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.request(method, self._url + path, headers=headers)
        except requests.RequestException as error:
            raise TemporaryFailure(
                "functiongraph.metadata",
                Localized(f"{self.name} did not answer", f"元数据服务 {self._url} 无应答"),
            ) from error

    def _refused(self, response: requests.Response) -> RelayError:
        told = f"{response.status_code} {cleaned(response.text, 120)}".strip()
        message = Localized(f"{self.name} answered {told}", f"元数据服务 {self._url} 返回 {told}")
        if response.status_code in (408, 429) or response.status_code >= 500:
            wait = retry_after(response, self._clock())
            return TemporaryFailure("functiongraph.metadata", message, retry_after=wait)
        return PermanentFailure(
            "functiongraph.metadata",
            message,
            Localized(
                "Or give this server an agency that may use FunctionGraph.",
                "也可为本服务器配置具有 FunctionGraph 权限的委托。",
            ),
        )

    def _read(self, credential: Any) -> tuple[AccessKey, timedelta]:
        named = (credential[name] for name in ("access", "secret", "securitytoken"))
        values = [value for value in named if isinstance(value, str) and _TOKEN.fullmatch(value)]
        key = AccessKey(*values) if len(values) == 3 else None
        if key is None:
            raise ValueError("an access key has three parts")
        return key, self._life(credential.get("expires_at"))

    def _life(self, expires_at: Any) -> timedelta:
        try:
            ends = datetime.fromisoformat(expires_at)
        except (ValueError, TypeError):
            return _UNKNOWN_LIFE
        ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
        return max(ends - self._clock(), timedelta(0))
