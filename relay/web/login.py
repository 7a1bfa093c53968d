"""Login and logout: a form takes a token, a signed cookie keeps the session."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, session, url_for

from relay.errors import Unverified
from relay.model import Localized
from relay.web.auth import check_form
from relay.web.context import WebContext


def blueprint(context: WebContext) -> Blueprint:
    """Create the login and logout addresses, which are not guarded."""
    login = Blueprint("login", __name__)

    @login.get("/login")
    def show() -> Any:
        if not context.guard.has_tokens:
            return redirect(url_for("pages.deliveries"), 303)
        return render_template("login.html", next=_local_path(request.args.get("next", "")))

    @login.post("/login")
    def submit() -> Any:
        check_form()
        next_path = _local_path(request.form.get("next", ""))
        if context.guard.is_valid_token(request.form.get("token", "").strip()):
            session.clear()
            session["in"] = True
            return redirect(next_path or url_for("pages.deliveries"), 303)
        error = Unverified(
            "page.wrong_token",
            Localized("Invalid token", "令牌无效"),
            Localized(
                "Use a token from api.tokens in relay.toml.",
                "请使用 relay.toml 中 api.tokens 配置的令牌。",
            ),
        )
        return render_template("login.html", next=next_path, problem=error.problem), 401

    @login.post("/logout")
    def logout() -> Any:
        check_form()
        session.clear()
        return redirect(url_for("login.show"), 303)

    return login


def _local_path(address: str) -> str:
    """Return the address if it certainly is a path on this server, else an empty string."""
    is_plain = all(" " < character <= "~" and character != "\\" for character in address)
    return address if is_plain and address.startswith("/") and address[1:2] != "/" else ""
