"""The table [channels.NAME.words]: a team's own wording, as sandboxed Jinja templates."""

from __future__ import annotations

from typing import Annotated, Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, Field

from relay.config.table import Table

# Not escaped here: what comes out is plain text, and each channel escapes its own markup.
_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


def template(text: str) -> Template:
    """The compiled template; TemplateSyntaxError says what is wrong with it."""
    return _SANDBOX.from_string(text)


def _checked(text: str) -> str:
    try:
        template(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"is no Jinja template: {error.message}") from None
    return text


Words = Annotated[str | None, AfterValidator(lambda text: _checked(text) if text else text)]


def _words(what: str) -> Any:
    return Field(None, description=f"Jinja template of {what}; none: our own words")


class WordsSettings(Table):
    """Texts of a card that a team may replace; channels/card_templates.py lists the variables."""

    title: Words = _words("the title")
    name: Words = _words("the name beside the title")
    problem: Words = _words("what happened; empty text leaves it out")
    advice: Words = _words("what to do next; empty text leaves it out")
    footer: Words = _words("the last line")
