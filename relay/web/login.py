"""The pages' login: the token once, then a signed cookie."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, session, url_for

from relay.errors import Unverified
from relay.model import Localized
from relay.web.auth import check_form
from relay.web.context import WebContext


def blueprint(front: WebContext) -> Blueprint:
    """Login and logout; the two pages that are not guarded."""
    door = Blueprint("door", __name__)

    @door.get("/login")
    def ask() -> Any:
        if not front.guard.has_tokens:
            return redirect(url_for("pages.deliveries"), 303)
        return render_template("login.html", next=_local(request.args.get("next", "")))

    @door.post("/login")
    def enter() -> Any:
        check_form()
        onward = _local(request.form.get("next", ""))
        if front.guard.knows(request.form.get("token", "").strip()):
            session.clear()
            session["in"] = True
            return redirect(onward or url_for("pages.deliveries"), 303)
        wrong = Unverified(
            "page.wrong_token",
            Localized("That is not one of the tokens", "令牌不正确"),
            Localized(
                "Use a token of api.tokens in relay.toml.",
                "请使用 relay.toml 中 api.tokens 的令牌。",
            ),
        )
        return render_template("login.html", next=onward, problem=wrong.problem), 401

    @door.post("/logout")
    def leave() -> Any:
        check_form()
        session.clear()
        return redirect(url_for("door.ask"), 303)

    return door


def _local(address: str) -> str:
    """The address when it surely leads to a page of ours; else nothing."""
    plain = all(" " < character <= "~" and character != "\\" for character in address)
    return address if plain and address.startswith("/") and address[1:2] != "/" else ""
