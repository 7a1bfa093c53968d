"""Parses plain values into typed tables and rewrites pydantic's errors without values."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from relay.config.settings import OWN_TABLES
from relay.config.toml_file import ConfigPath, FromEnvironment, Tree, dotted, expand, suggest
from relay.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "no setting has this name",
    **dict.fromkeys(("model_type", "dict_type", "mapping_type"), "should be a table"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "should be a list"),
    "string_type": "should be text in quotes",
    **dict.fromkeys(("bool_type", "bool_parsing"), "should be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "should be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "should be a number"),
    "string_pattern_mismatch": "is not of the right form",
}
_SHORTEST_SECRET = 4


class Parser:
    """Parses the tables of a tree; collects every error in `tree.errors`."""

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        self.tree = tree
        self.environ = environ

    def parse(self, model: type[M], values: Any, at: ConfigPath) -> M | None:
        """Parse the table at `at` as `model`; None when invalid (see `tree.errors`)."""
        prepared = self.prepare(model, values, at)
        try:
            return model.model_validate(prepared)
        except ValidationError as error:
            self._collect(error, model, (values, prepared), at)
            return None

    def prepare(self, kind: Any, value: Any, at: ConfigPath) -> Any:
        """Convert values from the environment for the type `kind`."""
        if isinstance(value, FromEnvironment):
            try:
                return self._ready(kind, value)
            except ValueError as error:
                # With a reference in it, the error's text would name a part of the value.
                message = "has a ${...} that cannot be replaced" if "${" in value else str(error)
                self.tree.errors.append(ConfigError(value.variable, message))
                self.tree.broken.add(at)
                return value
        if isinstance(value, Mapping):
            fields = _fields(kind)
            return {
                key: self.prepare(
                    fields[key].annotation if key in fields else None, item, (*at, key)
                )
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.prepare(_member(kind), item, (*at, n)) for n, item in enumerate(value)]
        return value

    def _ready(self, kind: Any, value: FromEnvironment) -> Any:
        parts = set(_flat(kind))
        structured = {part for part in parts if _is_list(part) or _is_table(part)}
        if not structured:
            return expand(value, self.environ)
        if value.lstrip()[:1] in ("[", "{"):
            try:
                return self._expanded(json.loads(value))
            except (ValueError, RecursionError):
                if not parts & {str, SecretStr}:
                    raise ValueError("should be JSON, or a list with commas") from None
        text = expand(value, self.environ)
        if parts & {str, SecretStr} or not any(map(_is_list, structured)):
            return text
        return [part.strip() for part in text.split(",") if part.strip()]

    def _expanded(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._expanded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._expanded(item) for item in value]
        return expand(value, self.environ) if isinstance(value, str) else value

    def _collect(
        self, error: ValidationError, model: type[BaseModel], read: tuple[Any, Any], at: ConfigPath
    ) -> None:
        values, prepared = read
        by_path: dict[ConfigPath, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            by_path.setdefault(_real(detail["loc"], prepared), []).append(detail)
        # Our own messages quote no value, but the examples in them may look like a value.
        foreign = model not in OWN_TABLES
        hidden = sorted(_leaves(prepared, model), key=len, reverse=True) if foreign else ()
        for place, details in by_path.items():
            if any((*at, *place)[: len(broken)] == broken for broken in self.tree.broken):
                continue
            words = " or ".join(dict.fromkeys(_words(detail, hidden) for detail in details))
            unknown = details[0]["type"] == "extra_forbidden"
            hint = _hint(model, place, details[0]["type"])
            variable = _variable(values, place)
            path = dotted((*at, *place))
            if variable and unknown:
                path, hint = variable, _as_variable(hint, variable)
            elif variable:
                hint = f"{hint} It comes from the environment: {variable}.".lstrip()
            self.tree.errors.append(ConfigError(path, words, hint))


def _flat(kind: Any) -> Iterator[Any]:
    """The members of a union, or the type itself."""
    if get_origin(kind) in (Union, types.UnionType):
        for part in get_args(kind):
            yield from _flat(part)
    elif hasattr(kind, "__metadata__"):
        yield from _flat(get_args(kind)[0])
    else:
        yield kind


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (tuple, list, set, frozenset, Sequence)


def _is_table(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, BaseModel))


def _member(kind: Any) -> Any:
    lists = (part for part in _flat(kind) if _is_list(part))
    return next((get_args(part)[0] for part in lists if get_args(part)), None)


def _fields(kind: Any) -> Mapping[str, FieldInfo]:
    for part in _flat(kind):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return {field.alias or name: field for name, field in part.model_fields.items()}
    return {}


def _real(loc: Sequence[str | int], values: Any) -> ConfigPath:
    """Return the part of a pydantic location that is a path in the file, without union names."""
    place: list[str | int] = []
    for part in loc:
        if isinstance(values, Mapping) and isinstance(part, str):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            break
        place.append(part)
    return tuple(place)


def _leaves(values: Any, kind: Any) -> Iterator[str]:
    """Yield every text or number in the values that a message must not repeat."""
    if isinstance(values, Mapping):
        fields = _fields(kind)
        for key, value in values.items():
            yield from _leaves(value, fields[key].annotation if key in fields else None)
    elif isinstance(values, list):
        for value in values:
            yield from _leaves(value, _member(kind))
    else:
        literals = (part for part in _flat(kind) if get_origin(part) is Literal)
        options = {option for literal in literals for option in get_args(literal)}
        text = str(values)
        if values not in options and not isinstance(values, bool) and len(text) >= _SHORTEST_SECRET:
            yield text


def _words(detail: ErrorDetails, hidden: Sequence[str]) -> str:
    if detail["type"] in _WORDS:
        return _WORDS[detail["type"]]
    if detail["type"] in ("literal_error", "enum"):
        return f"should be one of {detail['ctx']['expected']}"
    words = re.sub("^(Value error, |Assertion failed, )?(Input )?", "", detail["msg"]).rstrip(".")
    for value in hidden:
        words = words.replace(value, "…")
    return words


def _hint(model: type[BaseModel], place: ConfigPath, error: str) -> str:
    kind: Any = model
    for part in place[:-1]:
        field = _fields(kind).get(str(part))
        kind = _member(kind) if isinstance(part, int) else field and field.annotation
    fields = _fields(kind)
    if error == "extra_forbidden":
        return suggest(str(place[-1]), fields)
    field = fields.get(str(place[-1])) if place else None
    if error not in ("missing", "string_pattern_mismatch") or not (field and field.description):
        return ""
    return f"{field.description[0].upper()}{field.description[1:]}."


def _variable(values: Any, place: ConfigPath) -> str | None:
    """Return the environment variable that set the value at a path, or a table around it."""
    for part in (*place, None):
        if isinstance(values, FromEnvironment):
            return values.variable
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return None


def _as_variable(hint: str, variable: str) -> str:
    """Rewrite a hint about a key for the name of an environment variable."""
    prefix = variable.rpartition("__")[0]
    return re.sub("`(.*?)`", lambda key: f"`{prefix}__{key[1].upper()}`", hint, count=1)
