"""Senders that show a JWT of an issuer: who signed it, for whom, to whom, and when.

Wire formats: RFC 7515 and 7519; Google, "Authentication for push subscriptions"; Microsoft,
"Deliver events to Microsoft Entra protected endpoints". A JWT says who sends, not what: that the
body is the sender's is left to TLS.
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
from relay.sources.envelope import Fetch, fetch_nothing
from relay.sources.envelopes.jwks import JwksCache
from relay.sources.envelopes.token import TokenEnvelope

LONGEST = 8192
"""Characters of a token that we look at; Google's and Entra's have 2000 at most."""

LEEWAY = timedelta(seconds=60)
"""How far the issuer's clock may be from ours."""

_ALGORITHM = "RS256"
_JWS = PyJWS([_ALGORITHM], {"verify_signature": True, "enforce_minimum_key_length": True})

_HINT = "Compare what the sender's token says with {} of this source, and both clocks."


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. `claims`: of the claims in a key, at least one is there, and each
    that is there has the value."""

    keys_url: str
    issuers: frozenset[str]
    audience: str
    claims: Mapping[tuple[str, ...], str | bool]


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose tokens a source may take: the settings that must all be set, and what they ask for."""

    settings: tuple[str, ...]
    rules: Callable[[SourceSettings], TokenRules]

    def unset(self, settings: SourceSettings) -> tuple[str, ...]:
        return tuple(name for name in self.settings if not getattr(settings, name))


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


class Verifier:
    """Verifies the tokens of one provider for one source."""

    def __init__(self, rules: TokenRules, hint: str, fetch: Fetch) -> None:
        self._rules = rules
        self._hint = hint
        self._keys = JwksCache(rules.keys_url, fetch)

    def verify(self, incoming: Incoming) -> None:
        """Raises Unverified unless `Authorization: Bearer` holds a token that obeys the rules at
        the time of `incoming.received`; TemporaryFailure when the keys cannot be had.

        All that can be known without the keys is checked before they are fetched.
        """
        token = _bearer(incoming)
        kid, claims = _read(token)
        wrong = _wrong(claims, self._rules) or _untimely(claims, incoming.received)
        if wrong:
            raise _unverified(wrong, self._hint)
        key = self._keys.key(kid, incoming.received)
        if key is None:
            raise _unverified("is signed with a key that its issuer does not have", self._hint)
        try:
            _JWS.decode_complete(token, key, [_ALGORITHM])
        except (PyJWTError, ValueError, TypeError):
            raise _unverified("has a wrong signature", self._hint) from None


class JwtEnvelope(TokenEnvelope):
    """An envelope whose senders show a JWT where one is configured, else the source's token.

    As soon as any setting of a provider is set, the token alone is not enough.
    """

    providers: ClassVar[Sequence[Provider]]

    def __init__(self, settings: SourceSettings, fetch: Fetch = fetch_nothing) -> None:
        super().__init__(settings, fetch)
        self._wanted = [one for one in self.providers if _is_meant(one, settings)]
        self._verifiers = [
            Verifier(one.rules(settings), _HINT.format(" and ".join(one.settings)), fetch)
            for one in self._wanted
        ]

    def missing_setting(self) -> str | None:
        """A provider that is half configured; or everything that would do."""
        unset = [name for one in self._wanted for name in one.unset(self.settings)]
        if unset:
            return " and ".join(unset)
        if self._wanted or self.settings.token:
            return None
        return ", or ".join([*(" and ".join(_own(one)) for one in self.providers), "token"])

    def verify(self, incoming: Incoming) -> None:
        """The token of any of the configured providers; without any of them, the token."""
        if not self._verifiers:
            super().verify(incoming)
            return
        *others, last = self._verifiers
        for verifier in others:
            with contextlib.suppress(Unverified):
                verifier.verify(incoming)
                return
        last.verify(incoming)


def _own(provider: Provider) -> tuple[str, ...]:
    """The settings of a provider that have no default."""
    fields = SourceSettings.model_fields
    return tuple(name for name in provider.settings if fields[name].default is None)


def _is_meant(provider: Provider, settings: SourceSettings) -> bool:
    return any(getattr(settings, name) for name in _own(provider))


def _bearer(incoming: Incoming) -> str:
    scheme, _, token = incoming.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _unverified("should stand in `Authorization: Bearer`", "It is not there.")
    if len(token) > LONGEST or not token.isascii() or token.count(".") != 2:
        raise _unverified("is no JWT", "It should be three parts of base64url.")
    return token


def _read(token: str) -> tuple[str, Mapping[str, Any]]:
    """The key's id and the claims. Nobody vouches for them yet."""
    try:
        found = _JWS.decode_complete(token, options={"verify_signature": False})
        claims = json.loads(found["payload"])
    except (PyJWTError, ValueError, TypeError, RecursionError):
        raise _unverified("is no JWT", "Its parts should be JSON objects.") from None
    head = found["header"]
    if head.get("alg") != _ALGORITHM:
        raise _unverified(f"is not signed with {_ALGORITHM}", "No other algorithm is taken.")
    if not isinstance(head.get("kid"), str) or "crit" in head or "b64" in head:
        raise _unverified("has a strange header", "It should name the key that signed it.")
    if not isinstance(claims, dict):
        raise _unverified("is no JWT", "Its parts should be JSON objects.")
    return head["kid"], claims


def _wrong(claims: Mapping[str, Any], rules: TokenRules) -> str | None:
    """What is said by the claims that should not be."""
    issuer, audience = claims.get("iss"), claims.get("aud")
    if not isinstance(issuer, str) or issuer not in rules.issuers:
        return "is of another issuer"
    every = audience if isinstance(audience, list) else [audience]
    if not rules.audience or not any(_same(one, rules.audience) for one in every):
        return "is for another audience (aud)"
    for names, value in rules.claims.items():
        found = [claims[name] for name in names if name in claims]
        if value == "" or not found or not all(_same(one, value) for one in found):
            return f"is of another sender ({' or '.join(names)})"
    return None


def _untimely(claims: Mapping[str, Any], now: datetime) -> str | None:
    """What is wrong with its times, RFC 7519 §4.1.4-6; PyJWT would ask its own clock."""
    latest, earliest = (now + LEEWAY).timestamp(), (now - LEEWAY).timestamp()
    if not _time(claims, "exp") > earliest:
        return "has expired (exp)"
    if not _time(claims, "iat") <= latest:
        return "does not say a time in the past at which it was issued (iat)"
    if "nbf" in claims and not _time(claims, "nbf") <= latest:
        return "is not valid yet (nbf)"
    return None


def _time(claims: Mapping[str, Any], name: str) -> float:
    """Seconds since 1970; what is no number is neither before nor after anything."""
    found = claims.get(name)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else math.nan


def _same(one: object, other: str | bool) -> bool:
    """Equal and of the same type: 1 is not True."""
    return type(one) is type(other) and one == other


def _unverified(what: str, hint: str) -> Unverified:
    return Unverified("hook.unverified", f"The sender's token {what}", hint)
