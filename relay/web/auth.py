"""Authentication of API and page requests: bearer tokens, login sessions, or loopback access."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Request, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from relay.errors import Unverified
from relay.model import Localized
from relay.web.problems import Refused

FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequestGuard:
    """Checks requests against the configured tokens, of which it keeps only SHA-256 digests."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [_digest(token) for token in tokens if token]

    @property
    def has_tokens(self) -> bool:
        return bool(self._digests)

    def is_valid_token(self, token: str) -> bool:
        """Compare with every configured token, in a time that does not depend on the result."""
        given = _digest(token)
        return sum(hmac.compare_digest(given, known) for known in self._digests) > 0

    def session_key(self, fallback: str) -> bytes:
        """Derive the key that signs session cookies; changing the tokens ends all sessions."""
        material = b"".join(sorted(self._digests)) or fallback.encode()
        return hmac.digest(material, b"relay session 1", "sha256")

    def is_authorized(self) -> bool:
        """Whether this request may read; `check` raises the reason if it may not."""
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            g.by_token = scheme.lower() == "bearer" and self.is_valid_token(token.strip())
            return bool(g.by_token)
        if self.has_tokens:
            return bool(session.get("in"))
        return is_local()

    def check(self) -> None:
        """Raise Unverified (401) if a token is missing or wrong, Refused (403) if none is set."""
        if self.is_authorized():
            return
        if self.has_tokens or "Authorization" in request.headers:
            raise Unverified(
                "api.unauthorized",
                Localized("A valid token is required", "需要有效的令牌"),
                Localized(
                    "Send Authorization: Bearer with one of api.tokens.",
                    "请在 Authorization: Bearer 中携带 api.tokens 之一。",
                ),
            )
        raise Refused(
            403,
            "api.local_only",
            Localized(
                "API and pages accept only local requests until api.tokens is set",
                "未设置 api.tokens 时，API 和页面仅接受本机请求",
            ),
            Localized(
                "Set api.tokens in relay.toml (or RELAY_API__TOKENS) to allow remote access.",
                "如需远程访问，请在 relay.toml 中设置 api.tokens（或 RELAY_API__TOKENS）。",
            ),
        )

    def check_origin(self) -> None:
        """Raise Refused if a page of another web site sends a request that changes something.

        Browsers add Origin to every POST; programs do not.
        """
        if request.method in SAFE_METHODS or g.get("by_token"):
            return
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if (origin is None or _is_same_origin(origin)) and site in ("none", "same-origin"):
            return
        raise Refused(
            403,
            "api.cross_site",
            Localized("Requests from other web sites are not allowed", "不允许来自其他网站的请求"),
            Localized("Programs must not send an Origin header.", "程序调用时不应携带 Origin 头。"),
        )


def check_form() -> None:
    """Raise Refused unless the form carries the CSRF token of this session.

    Origin cannot be checked: with `Referrer-Policy: no-referrer` browsers send "null".
    """
    given, expected = request.form.get("csrf", ""), session.get("csrf", "")
    matches = hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
    if (expected and matches) or g.get("by_token"):
        return
    raise Refused(
        403,
        "page.stale_form",
        Localized(
            "This form has expired or was sent from another site", "表单已过期或来自其他网站"
        ),
        Localized("Go back, reload the page and try again.", "请返回并刷新页面后重试。"),
    )


def form_token() -> str:
    """Return the CSRF token of this session; it is created at first use."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def is_local() -> bool:
    """Whether the request comes from this machine and addresses it by a loopback name.

    A forwarding header means that a local proxy passes on a remote request. A foreign Host means
    that a web page resolved its own name to a loopback address (DNS rebinding).
    """
    if any(name in request.headers for name in FORWARDING_HEADERS):
        return False
    return _is_loopback(request.remote_addr or "") and _is_loopback(_hostname(request.host))


class Sessions(SecureCookieSessionInterface):
    """Cookie sessions: Secure if the page was requested by https; hooks have no session."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return None if request.path.startswith("/hooks/") else super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's signature
        return request.is_secure


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _is_same_origin(origin: str) -> bool:
    return origin.lower() == f"{request.scheme}://{request.host}".lower()


def _hostname(netloc: str) -> str:
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
