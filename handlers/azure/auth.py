"""Credentials for Azure Storage: account key, SAS, Entra app, or managed identity.

Wire formats: Azure Storage, "Authorize with Shared Key"; Microsoft identity platform, "OAuth 2.0
client credentials flow"; managed identities, "Acquire an access token" (virtual machines) and
"REST endpoint reference" (App Service, Container Apps).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from relay.model import utc_now
from relay.outbound.credentials import fetch_metadata_token, request_token
from relay.outbound.token_cache import Clock, ExpiringValue

RESOURCE = "https://storage.azure.com"
VERSION = "2021-12-02"
"""Of the REST API: authenticated requests must name a version and the time."""

_SIGNED = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)
"""The headers in the string to sign, in order; x-ms-* headers follow."""

_MACHINE = "/metadata/identity/oauth2/token"


class SharedKey:
    """Signs requests with an account key."""

    def __init__(self, account: str, key: bytes, clock: Clock = utc_now) -> None:
        self._account = account
        self._key = key
        self._clock = clock

    def sign(self, request: requests.PreparedRequest) -> None:
        request.headers["x-ms-date"] = _date(self._clock)
        text = string_to_sign(
            request.method or "", request.url or "", request.headers, self._account
        )
        digest = hmac.digest(self._key, text.encode(), hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        request.headers["Authorization"] = f"SharedKey {self._account}:{signature}"

    def renew(self, request: requests.PreparedRequest) -> bool:
        del request
        return False


class Sas:
    """Adds a shared access signature to URLs."""

    def __init__(self, token: str) -> None:
        self._token = token

    def sign(self, request: requests.PreparedRequest) -> None:
        url = request.url or ""
        request.url = f"{url}{'&' if '?' in url else '?'}{self._token}"

    def renew(self, request: requests.PreparedRequest) -> bool:
        del request
        return False


def with_version(headers: Mapping[str, str]) -> dict[str, str]:
    """Add the headers that all requests need: API version and date."""
    return {"x-ms-version": VERSION, "x-ms-date": _date(utc_now), **headers}


def string_to_sign(method: str, url: str, headers: Mapping[str, str | bytes], account: str) -> str:
    """The string to sign for Shared Key, for API versions since 2015-02-21."""
    values = {name.lower(): _text(value) for name, value in headers.items()}
    if values.get("content-length") == "0":
        values["content-length"] = ""
    lines = [method, *(values.get(name.lower(), "") for name in _SIGNED)]
    ms_headers = sorted(name for name in values if name.startswith("x-ms-"))
    lines += [f"{name}:{' '.join(values[name].split())}" for name in ms_headers]
    parts = urlsplit(url)
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        query.setdefault(name.lower(), []).append(value)
    lines.append(f"/{account}{parts.path}")
    lines += [f"{name}:{','.join(sorted(query[name]))}" for name in sorted(query)]
    return "\n".join(lines)


def app_token_fetcher(
    login_url: str, tenant: str, client_id: str, secret: str
) -> Callable[[], ExpiringValue[str]]:
    """A function that fetches tokens for an app registered in Entra."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secret,
        "scope": f"{RESOURCE}/.default",
    }
    return lambda: request_token(f"{login_url}/{tenant}/oauth2/v2.0/token", form, "Entra")


def identity_token_fetcher(
    identity_url: str, client_id: str | None
) -> Callable[[], ExpiringValue[str]]:
    """A function that fetches tokens of this machine's managed identity, or of `client_id`."""
    endpoint, header = os.environ.get("IDENTITY_ENDPOINT"), os.environ.get("IDENTITY_HEADER")
    query = {"resource": RESOURCE, **({"client_id": client_id} if client_id else {})}
    if endpoint and header:  # App Service and Container Apps
        url, version, headers = endpoint, "2019-08-01", {"X-IDENTITY-HEADER": header}
    else:
        url, version, headers = f"{identity_url}{_MACHINE}", "2018-02-01", {"Metadata": "true"}
    url = f"{url}?{urlencode({'api-version': version, **query})}"
    return lambda: fetch_metadata_token(url, headers, "The managed identity of this machine")


def _date(clock: Clock) -> str:
    return format_datetime(clock(), usegmt=True)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
