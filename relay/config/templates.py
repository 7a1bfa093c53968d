"""The table [channels.NAME.words]: custom card texts as sandboxed Jinja templates."""

from __future__ import annotations

from typing import Annotated, Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, Field

from relay.config.table import Table

# Not escaped here: the result is plain text, and each channel escapes for its own markup.
_SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)


def template(text: str) -> Template:
    """Compile a template. Raises TemplateSyntaxError."""
    return _SANDBOX.from_string(text)


def _checked(text: str | None) -> str | None:
    try:
        template(text or "")
    except TemplateSyntaxError as error:
        raise ValueError(f"is not a valid Jinja template: {error.message}") from None
    return text


Words = Annotated[str | None, AfterValidator(_checked)]


def _words(what: str) -> Any:
    return Field(None, description=f"Jinja template of {what}; without it, the built-in text")


class WordsSettings(Table):
    """Texts of a card that a team may replace; channels/card_templates.py lists the variables."""

    title: Words = _words("the title")
    name: Words = _words("the name next to the title")
    problem: Words = _words("the problem; an empty text leaves it out")
    advice: Words = _words("the advice; an empty text leaves it out")
    footer: Words = _words("the last line")
