"""relay.toml with the environment laid over it: a tree of plain values, types still unknown."""

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
"""The variable that names the file itself."""
GROUPS = ("sources", "targets", "channels")
"""Tables whose next level are names that the operator chose."""

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
    """A value as an environment variable gave it: text, whatever type the setting has."""

    __slots__ = ("variable",)
    variable: str


@dataclass
class Tree:
    """What was read. `broken`: places whose text could not be expanded, told in `errors`."""

    values: dict[str, Any]
    errors: list[ConfigError] = field(default_factory=list)
    broken: set[ConfigPath] = field(default_factory=set)


def read(
    path: Path | None, environ: Mapping[str, str], tables: Mapping[str, Collection[str]]
) -> Tree:
    """The file's values with the environment's over them, every `${...}` of the file replaced.

    `tables`: each top-level key with the keys of its table (none for a plain value or a group).
    Raises ConfigError only when the file itself cannot be read; all else is in `errors`.
    """
    values = read_file(path) if path else {}
    tree = Tree(values)
    mentioned = {name for text in _texts(values) for name in _mentioned(text)}
    _Overlay(tree, tables, mentioned).lay(environ)
    tree.values = {key: _expanded(tree, value, (key,), environ) for key, value in values.items()}
    return tree


def read_file(path: Path) -> dict[str, Any]:
    """The file as TOML. ConfigError: not there, not readable, too large, or where it is no TOML."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError("", f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise ConfigError("", f"{path} is larger than {_MOST_BYTES} bytes")
    try:
        # Windows' editors put a byte order mark before the text.
        return tomllib.loads(raw.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError("", f"{path} is not UTF-8 text at line {line}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("", f"{path} is not TOML", _where(error)) from None
    except RecursionError:
        raise ConfigError("", f"{path} is nested too deeply") from None


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`${NAME}`, `${NAME:-default}` and `${file:/path}` replaced; `$${` is `${` itself.

    As in a shell, the default also stands in for an empty variable. What is put in is not
    looked at again. ValueError says in words what is wrong, without any value.
    """
    return _REFERENCE.sub(lambda match: _replacement(match, environ), text)


def suggest(name: str, known: Collection[str]) -> str:
    """ "Did you mean `region`?", else what is known, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"Did you mean `{close[0]}`?"
    return f"Known here: {', '.join(sorted(known))}." if known else ""


def _where(error: tomllib.TOMLDecodeError) -> str:
    # Only the place: the parser's own words may quote what stands there.
    match = re.search(r"\(at (.*)\)$", str(error))
    return f"Look at {match[1]}." if match else ""


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
        raise ValueError("has a ${...} that is none of ${NAME}, ${NAME:-default}, ${file:/path}")
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


def _mentioned(text: str) -> Iterator[str]:
    return (match[1].partition(":-")[0] for match in _REFERENCE.finditer(text) if match[1])


def _expanded(tree: Tree, value: Any, place: ConfigPath, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(tree, one, (*place, key), environ) for key, one in value.items()}
    if isinstance(value, list):
        return [_expanded(tree, one, (*place, n), environ) for n, one in enumerate(value)]
    if not isinstance(value, str) or isinstance(value, FromEnvironment):
        return value
    try:
        return expand(value, environ)
    except ValueError as error:
        tree.broken.add(place)
        tree.errors.append(ConfigError(dotted(place), str(error)))
        return value


def dotted(place: ConfigPath) -> str:
    """`("routes", 0, "key")` as people write it: `routes[0].key`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


class _Overlay:
    """Puts every RELAY_* variable where its name says."""

    def __init__(
        self, tree: Tree, tables: Mapping[str, Collection[str]], mentioned: Collection[str]
    ) -> None:
        self.tree = tree
        self.tables = tables
        self.mentioned = mentioned

    def lay(self, environ: Mapping[str, str]) -> None:
        for name in sorted(environ):
            if not name.startswith(PREFIX) or name == FILE or _KUBERNETES.fullmatch(name):
                continue
            parts = name.removeprefix(PREFIX).lower().split("__")
            if parts[0] in self.tables and all(parts):
                value = FromEnvironment(environ[name])
                value.variable = name
                self._put(parts, value)
            elif name not in self.mentioned:
                # Compared without what all of them begin with.
                known = {one.removeprefix(PREFIX): one for one in self._names(parts)}
                close = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
                hint = f"Did you mean `{known[close[0]]}`?" if close else _VARIABLES
                self.tree.errors.append(ConfigError(name, "no setting has this name", hint))

    def _put(self, parts: list[str], value: FromEnvironment) -> None:
        node: Any = self.tree.values
        if parts[0] == "routes" and len(parts) > 1:
            words = "a single route cannot be set by a variable"
            hint = "Write it as [[routes]] into the file; RELAY_ROUTES holds all of them, as JSON."
            self.tree.errors.append(ConfigError(value.variable, words, hint))
            return
        for depth, part in enumerate(parts):
            if not isinstance(node, dict):
                words = "names a setting inside of something that is not a table"
                self.tree.errors.append(ConfigError(value.variable, words))
                return
            key = _chosen(node, part) if depth == 1 and parts[0] in GROUPS else part
            if depth == len(parts) - 1:
                node[key] = value
            else:
                node = node.setdefault(key, {})

    def _names(self, parts: list[str]) -> set[str]:
        names = {f"{PREFIX}{top}__{key}" for top in self.tables for key in self.tables[top]}
        names |= {FILE, *(f"{PREFIX}{top}" for top in self.tables if not self.tables[top])}
        for group in GROUPS:
            names.add("__".join([f"{PREFIX}{group}", *parts[1:]]))
            named = self.tree.values.get(group)
            for name, table in named.items() if isinstance(named, dict) else ():
                keys = table if isinstance(table, dict) else ()
                names |= {f"{PREFIX}{group}__{name}__{key}" for key in keys}
        return {name.upper() for name in names}


def _chosen(node: Mapping[str, Any], part: str) -> str:
    """The operator's name that an environment variable means: it has no case and no hyphens."""
    if part in node:
        return part
    meant = (name for name in node if name.lower().replace("-", "_") == part.replace("-", "_"))
    return next(meant, part)
