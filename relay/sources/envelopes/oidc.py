"""JwtEnvelope: base of envelopes whose senders show a JWT of an issuer such as Google or Entra.

Wire formats: RFC 7515 and 7519; Google, "Authentication for push subscriptions"; Microsoft,
"Deliver events to Microsoft Entra protected endpoints". A JWT identifies the sender and does not
cover the body; TLS protects the body.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from jwt import PyJWS, PyJWTError

from relay.config.load import SourceSettings
from relay.errors import Unverified
from relay.model import Incoming
from relay.sources.envelope import Fetch, refuse_fetch
from relay.sources.envelopes.jwks import JwksCache
from relay.sources.envelopes.token import TokenEnvelope

MAX_LENGTH = 8192
"""Characters of a token; tokens of Google and Entra have at most 2000."""

LEEWAY = timedelta(seconds=60)
"""The accepted difference between the clocks of the issuer and of this machine."""

_ALGORITHM = "RS256"
_JWS = PyJWS([_ALGORITHM], {"verify_signature": True, "enforce_minimum_key_length": True})

_HINT = "Compare the claims of the sender's token with {} of this source, and check both clocks."


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The required content of a token.

    `claims`: for each group of alternative names, at least one claim must be present, and each
    that is present must have the value.
    """

    keys_url: str
    issuers: frozenset[str]
    audience: str
    claims: Mapping[tuple[str, ...], str | bool]


@dataclass(frozen=True, slots=True)
class Provider:
    """An issuer of tokens: the settings that must be set, and the rules made from them."""

    settings: tuple[str, ...]
    rules: Callable[[SourceSettings], TokenRules]

    def unset(self, settings: SourceSettings) -> tuple[str, ...]:
        return tuple(name for name in self.settings if not getattr(settings, name))

    @property
    def required(self) -> tuple[str, ...]:
        """The settings without a default."""
        fields = SourceSettings.model_fields
        return tuple(name for name in self.settings if fields[name].default is None)

    def is_configured(self, settings: SourceSettings) -> bool:
        """Whether any of the required settings is set."""
        return any(getattr(settings, name) for name in self.required)


def _google(settings: SourceSettings) -> TokenRules:
    return TokenRules(
        "https://www.googleapis.com/oauth2/v3/certs",
        frozenset(("https://accounts.google.com", "accounts.google.com")),
        settings.oidc_audience or "",
        {("email_verified",): True, ("email",): settings.oidc_email or ""},
    )


def _entra(settings: SourceSettings) -> TokenRules:
    tenant = quote((settings.entra_tenant or "").lower(), safe="")
    return TokenRules(
        f"https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys",
        frozenset(
            (
                f"https://sts.windows.net/{tenant}/",
                f"https://login.microsoftonline.com/{tenant}/v2.0",
            )
        ),
        settings.entra_audience or "",
        {("appid", "azp"): settings.entra_app or ""},
    )


GOOGLE = Provider(("oidc_audience", "oidc_email"), _google)
ENTRA = Provider(("entra_tenant", "entra_audience", "entra_app"), _entra)


class JwtVerifier:
    """Verifies the tokens of a provider for a source."""

    def __init__(self, rules: TokenRules, hint: str, fetch: Fetch) -> None:
        self._rules = rules
        self._hint = hint
        self._keys = JwksCache(rules.keys_url, fetch)

    def verify(self, incoming: Incoming) -> None:
        """Raise Unverified unless `Authorization: Bearer` holds a valid token.

        Times are compared with `incoming.received`. Everything that does not need the keys is
        checked before they are fetched. TemporaryFailure when they cannot be fetched.
        """
        token = _bearer_token(incoming)
        kid, claims = _read_unverified(token)
        problem = _claims_problem(claims, self._rules) or _time_problem(claims, incoming.received)
        if problem:
            raise _unverified(problem, self._hint)
        key = self._keys.key(kid, incoming.received)
        if key is None:
            raise _unverified("is signed with a key that its issuer does not have", self._hint)
        try:
            _JWS.decode_complete(token, key, [_ALGORITHM])
        except (PyJWTError, ValueError, TypeError):
            raise _unverified("has a wrong signature", self._hint) from None


class JwtEnvelope(TokenEnvelope):
    """An envelope that verifies a JWT if a provider is configured, else the source's token.

    As soon as any setting of a provider is set, the source's token alone is not accepted.
    """

    providers: ClassVar[Sequence[Provider]]

    def __init__(self, settings: SourceSettings, fetch: Fetch = refuse_fetch) -> None:
        super().__init__(settings, fetch)
        self._configured = [
            provider for provider in self.providers if provider.is_configured(settings)
        ]
        self._verifiers = [
            JwtVerifier(
                provider.rules(settings), _HINT.format(" and ".join(provider.settings)), fetch
            )
            for provider in self._configured
        ]

    def missing_setting(self) -> str | None:
        """The unset settings of a configured provider; all alternatives if there is none."""
        unset = [name for provider in self._configured for name in provider.unset(self.settings)]
        if unset:
            return " and ".join(unset)
        if self._configured or self.settings.token:
            return None
        return ", or ".join([*(" and ".join(item.required) for item in self.providers), "token"])

    def verify(self, incoming: Incoming) -> None:
        """Accept a JWT of any configured provider; without providers, the source's token."""
        if not self._verifiers:
            super().verify(incoming)
            return
        *others, last = self._verifiers
        for verifier in others:
            with contextlib.suppress(Unverified):
                verifier.verify(incoming)
                return
        last.verify(incoming)


def _bearer_token(incoming: Incoming) -> str:
    scheme, _, token = incoming.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _unverified("is missing", "It should be in the header `Authorization: Bearer`.")
    if len(token) > MAX_LENGTH or not token.isascii() or token.count(".") != 2:
        raise _unverified("is not a JWT", "It should consist of three parts in base64url.")
    return token


def _read_unverified(token: str) -> tuple[str, Mapping[str, Any]]:
    """The id of the key and the claims, before the signature is verified."""
    try:
        decoded = _JWS.decode_complete(token, options={"verify_signature": False})
        claims = json.loads(decoded["payload"])
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise _unverified("is not a JWT", "Its parts should be JSON objects.") from None
    header = decoded["header"]
    if header.get("alg") != _ALGORITHM:
        raise _unverified(f"is not signed with {_ALGORITHM}", "No other algorithm is accepted.")
    if not isinstance(header.get("kid"), str) or "crit" in header or "b64" in header:
        raise _unverified("has an invalid header", "It should name the key that signed it.")
    if not isinstance(claims, dict):
        raise _unverified("is not a JWT", "Its parts should be JSON objects.")
    return header["kid"], claims


def _claims_problem(claims: Mapping[str, Any], rules: TokenRules) -> str | None:
    issuer, audience = claims.get("iss"), claims.get("aud")
    if not isinstance(issuer, str) or issuer not in rules.issuers:
        return "is of another issuer"
    audiences = audience if isinstance(audience, list) else [audience]
    if not rules.audience or not any(_is_equal(item, rules.audience) for item in audiences):
        return "is for another audience (aud)"
    for names, expected in rules.claims.items():
        values = [claims[name] for name in names if name in claims]
        if expected == "" or not values or not all(_is_equal(item, expected) for item in values):
            return f"is of another sender ({' or '.join(names)})"
    return None


def _time_problem(claims: Mapping[str, Any], now: datetime) -> str | None:
    """Check the times of RFC 7519 §4.1.4-6. PyJWT would compare them with the system clock."""
    latest, earliest = (now + LEEWAY).timestamp(), (now - LEEWAY).timestamp()
    if not _time(claims, "exp") > earliest:
        return "has expired (exp)"
    if not _time(claims, "iat") <= latest:
        return "does not say a time in the past at which it was issued (iat)"
    if "nbf" in claims and not _time(claims, "nbf") <= latest:
        return "is not valid yet (nbf)"
    return None


def _time(claims: Mapping[str, Any], name: str) -> float:
    """Seconds since 1970; NaN for anything but a number, so that every comparison fails."""
    value = claims.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_equal(value: object, expected: str | bool) -> bool:
    """Whether both are equal and of the same type: 1 is not True."""
    return type(value) is type(expected) and value == expected


def _unverified(problem: str, hint: str) -> Unverified:
    return Unverified("hook.unverified", f"The sender's token {problem}", hint)
