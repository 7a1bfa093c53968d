"""Which of the two languages this request is answered in."""

from __future__ import annotations

from flask import Response, g, request

COOKIE = "relay_lang"
LANGUAGES = ("en", "zh")


def language() -> str:
    """`en` or `zh`: what ?lang= asks for on a page, else its cookie, else Accept-Language."""
    if "language" not in g:
        g.language = _chosen() or request.accept_languages.best_match(LANGUAGES, default="en")
    return str(g.language)


def remember(response: Response) -> Response:
    """Keeps a choice made with ?lang= for the pages that follow."""
    asked = request.args.get("lang")
    if asked in LANGUAGES and not request.path.startswith("/api/"):
        response.set_cookie(
            COOKIE,
            asked,
            max_age=365 * 24 * 3600,
            secure=request.is_secure,
            httponly=True,
            samesite="Strict",
        )
    return response


def _chosen() -> str | None:
    if request.path.startswith(("/api/", "/hooks/")):
        return None
    for choice in (request.args.get("lang"), request.cookies.get(COOKIE)):
        if choice in LANGUAGES:
            return choice
    return None
