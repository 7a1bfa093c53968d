"""Reads relay.toml and overlays the environment: a tree of plain, untyped values."""

from __future__ import annotations

import difflib
import re
import tomllib
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.errors import ConfigError

PREFIX = "RELAY_"
FILE = "RELAY_CONFIG"
"""The environment variable with the path of the file."""
GROUPS = ("sources", "targets", "channels")
"""Tables of named tables: [sources.NAME]."""

ConfigPath = tuple[str | int, ...]

_VARIABLES = f"Settings are RELAY_TABLE__KEY, such as RELAY_DATABASE__URL; {FILE} names the file."
_MOST_BYTES = 1 << 20
_MOST_SECRET_BYTES = 1 << 16
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Kubernetes sets these in every pod of a namespace that has a Service named `relay`.
_KUBERNETES = re.compile(
    r"RELAY_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class FromEnvironment(str):
    """A value from an environment variable: text, before it gets the type of the setting."""

    __slots__ = ("variable",)
    variable: str


@dataclass
class Tree:
    """The values read. `broken`: paths of texts that could not be expanded (see `errors`)."""

    values: dict[str, Any]
    errors: list[ConfigError] = field(default_factory=list)
    broken: set[ConfigPath] = field(default_factory=set)


def read(
    path: Path | None, environ: Mapping[str, str], tables: Mapping[str, Collection[str]]
) -> Tree:
    """Read the file, overlay the environment, and replace every `${...}` of the file.

    `tables`: the known top-level keys, each with the keys of that table (empty for a plain value or
    a group). Raises ConfigError when the file cannot be read; other errors are in `errors`.
    """
    values = read_file(path) if path else {}
    tree = Tree(values)
    references = (match[1] for text in _texts(values) for match in _REFERENCE.finditer(text))
    mentioned = {reference.partition(":-")[0] for reference in references if reference}
    _overlay(tree, tables, mentioned, environ)
    tree.values = {key: _expanded(tree, value, (key,), environ) for key, value in values.items()}
    return tree


def read_file(path: Path) -> dict[str, Any]:
    """Parse the file. Raises ConfigError: it is missing, unreadable, too large or not TOML."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError("", f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise ConfigError("", f"{path} is larger than {_MOST_BYTES} bytes")
    try:
        # Editors on Windows start the text with a byte order mark.
        return tomllib.loads(raw.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError("", f"{path} is not UTF-8 text at line {line}") from None
    except tomllib.TOMLDecodeError as error:
        # Only the position: the parser's message may quote the value.
        position = re.search(r"\(at (.*)\)$", str(error))
        hint = f"Look at {position[1]}." if position else ""
        raise ConfigError("", f"{path} is not TOML", hint) from None
    except RecursionError:
        raise ConfigError("", f"{path} is nested too deeply") from None


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace `${NAME}`, `${NAME:-default}` and `${file:/path}`; `$${` is a literal `${`.

    As in a shell, the default also replaces an empty variable. Inserted text is not expanded again.
    Raises ValueError, whose text quotes no value.
    """
    return _REFERENCE.sub(lambda match: _replacement(match, environ), text)


def suggest(name: str, known: Collection[str]) -> str:
    """Return "Did you mean `region`?", else the known names, else an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"Did you mean `{close[0]}`?"
    return f"Known here: {', '.join(sorted(known))}." if known else ""


def _replacement(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$${":
        return "${"
    inside, closed = match[1], match[2]
    if not closed:
        raise ValueError("has a ${ that no } closes; write $${ for the characters themselves")
    if inside.startswith("file:"):
        return _secret_file(Path(inside.removeprefix("file:")))
    name, has_default, default = inside.partition(":-")
    if not _NAME.fullmatch(name):
        raise ValueError("has a ${...} that is not ${NAME}, ${NAME:-default} or ${file:/path}")
    value = environ.get(name)
    if has_default:
        return value or default
    if value is None:
        raise ValueError(f"needs the environment variable {name}, which is not set")
    return value


def _secret_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_SECRET_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("names a file that is not UTF-8 text") from None
    if len(raw) > _MOST_SECRET_BYTES:
        raise ValueError(f"names a file that is larger than {_MOST_SECRET_BYTES} bytes")
    return text.rstrip("\r\n")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _expanded(tree: Tree, value: Any, place: ConfigPath, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(tree, item, (*place, key), environ) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(tree, item, (*place, n), environ) for n, item in enumerate(value)]
    if not isinstance(value, str) or isinstance(value, FromEnvironment):
        return value
    try:
        return expand(value, environ)
    except ValueError as error:
        tree.broken.add(place)
        tree.errors.append(ConfigError(dotted(place), str(error)))
        return value


def dotted(place: ConfigPath) -> str:
    """Write `("routes", 0, "key")` as `routes[0].key`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def _overlay(
    tree: Tree,
    tables: Mapping[str, Collection[str]],
    mentioned: Collection[str],
    environ: Mapping[str, str],
) -> None:
    """Put each RELAY_* variable at the path in the variable's name."""
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == FILE or _KUBERNETES.fullmatch(name):
            continue
        parts = name.removeprefix(PREFIX).lower().split("__")
        if parts[0] in tables and all(parts):
            value = FromEnvironment(environ[name])
            value.variable = name
            _put(tree, parts, value)
        elif name not in mentioned:
            # Compare without the prefix that all names share.
            known = {known.removeprefix(PREFIX): known for known in _variables(tree, tables, parts)}
            close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
            hint = f"Did you mean `{known[close[0]]}`?" if close else _VARIABLES
            tree.errors.append(ConfigError(name, "no setting has this name", hint))


def _put(tree: Tree, parts: list[str], value: FromEnvironment) -> None:
    if parts[0] == "routes" and len(parts) > 1:
        words = "a single route cannot be set by a variable"
        hint = "Write it as [[routes]] into the file; RELAY_ROUTES holds all of them, as JSON."
        tree.errors.append(ConfigError(value.variable, words, hint))
        return
    node: Any = tree.values
    for depth, part in enumerate(parts):
        if not isinstance(node, dict):
            words = "names a setting inside a value that is not a table"
            tree.errors.append(ConfigError(value.variable, words))
            return
        key = _chosen(node, part) if depth == 1 and parts[0] in GROUPS else part
        if depth == len(parts) - 1:
            node[key] = value
        else:
            node = node.setdefault(key, {})


def _variables(tree: Tree, tables: Mapping[str, Collection[str]], parts: list[str]) -> set[str]:
    """Return the names of variables that a misspelled name may mean."""
    names = {f"{PREFIX}{top}__{key}" for top in tables for key in tables[top]}
    names |= {FILE, *(f"{PREFIX}{top}" for top in tables if not tables[top])}
    for group in GROUPS:
        names.add("__".join([f"{PREFIX}{group}", *parts[1:]]))
        named = tree.values.get(group)
        for name, table in named.items() if isinstance(named, dict) else ():
            keys = table if isinstance(table, dict) else ()
            names |= {f"{PREFIX}{group}__{name}__{key}" for key in keys}
    return {name.upper() for name in names}


def _chosen(node: Mapping[str, Any], part: str) -> str:
    """Return the configured name that a variable means: variables have no case and no hyphens."""
    if part in node:
        return part
    meant = (name for name in node if name.lower().replace("-", "_") == part.replace("-", "_"))
    return next(meant, part)
