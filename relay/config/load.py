"""Loads relay.toml and the environment into typed Settings, or reports every error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from relay.config.database_url import passwords
from relay.config.settings import (
    ChannelSettings,
    DatabaseSettings,
    DeliverySettings,
    RetentionSettings,
    Route,
    Settings,
    SourceSettings,
    TargetSettings,
    shape,
)
from relay.config.table import Table
from relay.config.toml_file import GROUPS, Tree, dotted, read, suggest
from relay.config.validate import Parser
from relay.config.validators import NAME_RIGHT, is_name
from relay.errors import ConfigError, ConfigErrors

__all__ = [
    "PLUG_INS",
    "ChannelSettings",
    "DatabaseSettings",
    "DeliverySettings",
    "RetentionSettings",
    "Route",
    "Settings",
    "SourceSettings",
    "Table",
    "TargetSettings",
    "config_path",
    "load",
    "secrets",
]

DEFAULT_FILE = Path("relay.toml")
PLUG_INS = {"sources": "handlers", "targets": "targets", "channels": "channels"}
"""The plug-in group of each group of tables."""

Resolve = Callable[[str, str], type[Table]]
"""resolve(group, kind) -> the plug-in's Settings; `group` is handlers, targets or channels."""


def config_path(explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file to read: `explicit`, else RELAY_CONFIG, else ./relay.toml if it exists."""
    if explicit is not None:
        return explicit
    if named := environ.get("RELAY_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load(path: Path | None, environ: Mapping[str, str], resolve: Resolve) -> Settings:
    """Return the settings of a file (None: defaults) with the environment on top.

    `resolve` finds the Settings of a plug-in, as `loader.settings_class` does. Raises
    ConfigErrors with everything that is wrong; no value is quoted in any of them.
    """
    try:
        tree = read(path, environ, shape())
    except ConfigError as error:
        raise ConfigErrors([error]) from None
    return _Loading(tree, environ, resolve).settings()


def secrets(value: Any) -> Iterator[str]:
    """Yield every secret in the settings, for redaction."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, DatabaseSettings):
        yield from passwords(value.url)
    elif isinstance(value, BaseModel):
        yield from secrets(dict(value))
    elif isinstance(value, Mapping):
        yield from secrets(list(value.values()))
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from secrets(item)


class _Loading:
    """Parses table by table, so that an error in one table does not hide the next."""

    def __init__(self, tree: Tree, environ: Mapping[str, str], resolve: Resolve) -> None:
        self.tree = tree
        self.parser = Parser(tree, environ)
        self.resolve = resolve

    def settings(self) -> Settings:
        values = dict(self.tree.values)
        names = {group: self._names(values.pop(group, {}), group) for group in GROUPS}
        plug_ins = {group: self._plug_ins(group, names[group]) for group in GROUPS}
        routes = self._routes(values.pop("routes", []), names)
        rest = self.parser.parse(Settings, values, ())
        if self.tree.errors or rest is None:
            raise ConfigErrors(self.tree.errors)
        return rest.model_copy(update={**plug_ins, "routes": routes})

    def _error(self, path: str, words: str, hint: str = "") -> None:
        self.tree.errors.append(ConfigError(path, words, hint))

    def _names(self, named: Any, group: str) -> dict[str, Any]:
        if isinstance(named, dict):
            return named
        self._error(group, f"should hold tables: [{group}.NAME]")
        return {}

    def _plug_ins(self, group: str, named: Mapping[str, Any]) -> dict[str, Table]:
        parsed = {name: self._plug_in(group, name, table) for name, table in named.items()}
        return {name: table for name, table in parsed.items() if table is not None}

    def _plug_in(self, group: str, name: str, table: Any) -> Table | None:
        path = dotted((group, name))
        if not is_name(name):
            self._error(group, f"the name {name[:40]!r} {NAME_RIGHT}")
            return None
        if not isinstance(table, dict):
            self._error(path, "should be a table", f"Write [{path}] and its settings below it.")
            return None
        kind = self.parser.prepare(str, table.get("kind"), (group, name, "kind"))
        if (group, name, "kind") in self.tree.broken:
            return None
        if not isinstance(kind, str):
            self._error(f"{path}.kind", "is required, as text", "It says which plug-in this is.")
            return None
        try:
            model = self.resolve(PLUG_INS[group], kind)
        except ConfigError as error:
            self.tree.errors.append(ConfigError(f"{path}.kind", error.message, error.hint))
            return None
        parsed = self.parser.parse(model, table, (group, name))
        if isinstance(parsed, SourceSettings):
            self._check_accept(parsed, path)
        return parsed

    def _check_accept(self, source: SourceSettings, path: str) -> None:
        for number, name in enumerate(source.accept):
            if name not in source.envelopes:
                hint = suggest(name, source.envelopes)
                self._error(f"{path}.accept[{number}]", "no envelope has this name", hint)

    def _routes(self, raw: Any, names: dict[str, Any]) -> tuple[Route, ...]:
        listed = self.parser.prepare(tuple[Route, ...], raw, ("routes",))
        if ("routes",) in self.tree.broken:
            return ()
        if not isinstance(listed, list):
            self._error("routes", "should be a list of tables: [[routes]]")
            return ()
        parsed = [self.parser.parse(Route, item, ("routes", n)) for n, item in enumerate(listed)]
        taken: set[str] = set()
        for number, item in enumerate(listed):
            if isinstance(item, dict):
                self._check_names(item, dotted(("routes", number)), names, taken)
        return tuple(route for route in parsed if route is not None)

    def _check_names(
        self, route: dict[str, Any], path: str, names: dict[str, Any], taken: set[str]
    ) -> None:
        channels = route.get("channels")
        named = [("source", "sources", route.get("source"))]
        named += [("target", "targets", route.get("target"))]
        if isinstance(channels, list):
            named += [("channels", "channels", channel) for channel in channels]
        for key, group, name in named:
            if isinstance(name, str) and name not in names[group]:
                hint = suggest(name, names[group]) or f"There is no [{group}.NAME] table yet."
                self._error(f"{path}.{key}", f"no [{group}.NAME] table has this name", hint)
        route_name = route.get("name")
        if isinstance(route_name, str):
            if route_name in taken:
                self._error(f"{path}.name", "another route has this name already")
            taken.add(route_name)
