"""Credentials for Google: a service account by key file, or by the metadata server.

Wire formats: Google Identity, "Using OAuth 2.0 for Server to Server Applications" (a JWT signed
with the key is exchanged for a token); Compute Engine, "Access tokens" of the metadata server.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.errors import ConfigError
from relay.model import utc_now
from relay.outbound.credentials import fetch_metadata_token, request_token
from relay.outbound.token_cache import Clock, ExpiringValue

READ_STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"
PULL = "https://www.googleapis.com/auth/pubsub"

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME = timedelta(hours=1)
_MAX_LENGTH = 64 * 1024
"""Bytes of a key file; real files have 2.4 KB."""
_TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The key of a service account."""

    email: str
    key_id: str
    token_uri: str
    private: RSAPrivateKey


def read_key_file(path: Path, setting: str) -> AccountKey:
    """Read a key file. ConfigError, for `setting`, if it is not valid."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_LENGTH))
        kind = document.get("type") if isinstance(document, dict) else None
        if kind != "service_account":
            raise ConfigError(
                setting,
                "does not contain the key of a service account",
                'Its "type" should be "service_account".',
            )
        email, key_id, uri = (
            _text(document, name) for name in ("client_email", "private_key_id", "token_uri")
        )
        is_http = urlsplit(uri).scheme in ("http", "https")
        key = load_pem_private_key(_text(document, "private_key").encode(), None)
    except OSError as error:
        raise ConfigError(setting, f"cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, RecursionError):
        # Not `from error`: the parser's message may quote the key.
        raise ConfigError(setting, "does not contain the key of a service account") from None
    if not isinstance(key, RSAPrivateKey) or not is_http:
        raise ConfigError(setting, "does not contain an RSA key and a token_uri")
    return AccountKey(email, key_id, uri, key)


def key_token_fetcher(
    key: AccountKey, scope: str, clock: Clock = utc_now
) -> Callable[[], ExpiringValue[str]]:
    """A function that fetches tokens for a service account."""

    def fetch() -> ExpiringValue[str]:
        now = int(clock().timestamp())
        claims = {
            "iss": key.email,
            "scope": scope,
            "aud": key.token_uri,
            "iat": now,
            "exp": now + int(_LIFETIME.total_seconds()),
        }
        assertion = jwt.encode(claims, key.private, "RS256", headers={"kid": key.key_id})
        form = {"grant_type": _GRANT, "assertion": assertion}
        return request_token(key.token_uri, form, "Google")

    return fetch


def machine_token_fetcher(metadata_url: str, scope: str) -> Callable[[], ExpiringValue[str]]:
    """A function that fetches tokens of this machine's service account."""
    url = f"{metadata_url}{_TOKEN_PATH}?scopes={scope.replace(' ', ',')}"
    return lambda: fetch_metadata_token(
        url, {"Metadata-Flavor": "Google"}, "Google's metadata server"
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(name)
    return value
