"""Text from outside, made fit for UTF-8 and JSON."""

from __future__ import annotations

from typing import Any, overload

from relay.model import Json


def text_of(body: bytes) -> str | None:
    """The body as text, or None when it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def cleaned(value: Json) -> Json:
    """The same JSON, every text in it clean."""
    return {clean(name): _cleaned(one) for name, one in value.items()}


@overload
def clean(text: str) -> str: ...
@overload
def clean(text: str | None) -> str | None: ...
def clean(text: str | None) -> str | None:
    """The text with half surrogate pairs replaced, which UTF-8 cannot carry."""
    return text if text is None else text.encode("utf-8", "replace").decode()


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case dict():
            return cleaned(value)
        case list():
            return [_cleaned(one) for one in value]
        case _:
            return value
