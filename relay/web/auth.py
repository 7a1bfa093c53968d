"""Who may use the API and the pages: bearer tokens, the pages' login, or this machine alone."""

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

FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Knows the configured tokens by their digests only."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [_digest(token) for token in tokens if token]

    @property
    def has_tokens(self) -> bool:
        return bool(self._digests)

    def knows(self, token: str) -> bool:
        """Whether that is one of the tokens; takes as long for a wrong one as for a right one."""
        given = _digest(token)
        return sum(hmac.compare_digest(given, known) for known in self._digests) > 0

    def secret(self, otherwise: str) -> bytes:
        """The key that signs session cookies: other tokens, other key, nobody logged in."""
        material = b"".join(sorted(self._digests)) or otherwise.encode()
        return hmac.digest(material, b"relay session 1", "sha256")

    def is_in(self) -> bool:
        """Whether this request may read; Unverified or Refused (403) says why not to `check`."""
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            g.by_token = scheme.lower() == "bearer" and self.knows(token.strip())
            return bool(g.by_token)
        if self.has_tokens:
            return bool(session.get("in"))
        return is_local()

    def check(self) -> None:
        """Raises Unverified (401: a token is needed) or Refused (403: not from here)."""
        if self.is_in():
            return
        if self.has_tokens or "Authorization" in request.headers:
            raise Unverified(
                "api.unauthorized",
                Localized("A valid token is needed", "需要有效的令牌"),
                Localized(
                    "Send Authorization: Bearer with one of api.tokens.",
                    "请在 Authorization: Bearer 中携带 api.tokens 之一。",
                ),
            )
        raise Refused(
            403,
            "api.local_only",
            Localized(
                "Without api.tokens, Relay's API and pages answer on this machine only",
                "未设置 api.tokens 时，Relay 的 API 和页面只在本机可用",
            ),
            Localized(
                "Set api.tokens in relay.toml (or RELAY_API__TOKENS) to use them from elsewhere.",
                "请在 relay.toml 中设置 api.tokens（或 RELAY_API__TOKENS）以便从其他地方访问。",
            ),
        )

    def check_api_change(self) -> None:
        """Raises Refused unless a program, or a page of ours, asks for this change.

        Browsers name the page's origin in every POST; programs name none.
        """
        if request.method in SAFE_METHODS or g.get("by_token"):
            return
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if (origin is None or _is_own(origin)) and site in ("none", "same-origin"):
            return
        raise Refused(
            403,
            "api.cross_site",
            Localized("Another web site may not change anything here", "其他网站不得在此进行更改"),
            Localized("Programs send no Origin header.", "程序调用时不应携带 Origin 头。"),
        )


def check_form() -> None:
    """Raises Refused unless the form came from a page of ours.

    The token decides, not the Origin: with Referrer-Policy no-referrer browsers send "null".
    """
    given, known = request.form.get("csrf", ""), session.get("csrf", "")
    ours = bool(known) and hmac.compare_digest(given.encode("utf-8", "replace"), known.encode())
    if ours or g.get("by_token"):
        return
    raise Refused(
        403,
        "page.stale_form",
        Localized("This form is too old or came from elsewhere", "此表单已过期或来自其他网站"),
        Localized("Go back, reload the page and try again.", "请返回并刷新页面后重试。"),
    )


def form_token() -> str:
    """The token that every form of this session carries."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def is_local() -> bool:
    """Whether a program on this machine asks for this machine by its own name.

    A forwarding header means that a proxy on this machine speaks for somebody else; a foreign
    Host means that a web page made its own name point here (DNS rebinding).
    """
    if any(name in request.headers for name in FORWARDING):
        return False
    return _is_loopback(request.remote_addr or "") and _is_loopback(_host(request.host))


class Sessions(SecureCookieSessionInterface):
    """Session cookies are Secure exactly when the page came by https; hooks have none."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return None if request.path.startswith("/hooks/") else super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's signature
        return request.is_secure


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _is_own(origin: str) -> bool:
    return origin.lower() == f"{request.scheme}://{request.host}".lower()


def _host(netloc: str) -> str:
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
