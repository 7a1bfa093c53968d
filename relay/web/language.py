"""The language of a response: English or Chinese."""

from __future__ import annotations

from flask import Response, g, request

COOKIE = "relay_lang"
LANGUAGES = ("en", "zh")


def language() -> str:
    """Return `en` or `zh`: on pages from ?lang= or the cookie, else from Accept-Language."""
    if "language" not in g:
        choices = (request.args.get("lang"), request.cookies.get(COOKIE))
        is_page = not request.path.startswith(("/api/", "/hooks/"))
        explicit = next((choice for choice in choices if is_page and choice in LANGUAGES), None)
        g.language = explicit or request.accept_languages.best_match(LANGUAGES, default="en")
    return str(g.language)


def remember(response: Response) -> Response:
    """Store a choice made with ?lang= in a cookie."""
    choice = request.args.get("lang")
    if choice in LANGUAGES and not request.path.startswith("/api/"):
        response.set_cookie(
            COOKIE,
            choice,
            max_age=365 * 24 * 3600,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
    return response
