"""Finds plug-in classes by kind and builds the configured plug-ins."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

from relay.channels.contract import Channel
from relay.config.load import PLUG_INS, Settings, SourceSettings, Table
from relay.errors import ConfigError, RelayError
from relay.outbound.session import HttpClientFactory
from relay.sources.contract import StorageHandler
from relay.sources.envelopes import source_settings
from relay.targets.contract import Target

log = logging.getLogger(__name__)

Group = Literal["handlers", "targets", "channels"]


class _Home(NamedTuple):
    """The package, class name and base class of the built-in plug-ins of a group."""

    package: str
    name: str
    contract: type[Any]


_HOMES: Mapping[str, _Home] = {
    "handlers": _Home("relay.handlers", "Handler", StorageHandler),
    "targets": _Home("relay.targets", "Target", Target),
    "channels": _Home("relay.channels", "Channel", Channel),
}
_OWN = "relay."
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ENTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


@dataclass(frozen=True)
class Plugins:
    """Every configured plug-in by name.

    `errors`: why plug-ins are missing; deliveries to them wait.
    """

    sources: Mapping[str, StorageHandler]
    targets: Mapping[str, Target]
    channels: Mapping[str, Channel]
    errors: tuple[ConfigError, ...] = field(default=())

    def close(self) -> None:
        """Close each plug-in, also after another failed to close."""
        for group in (self.sources, self.targets, self.channels):
            for name, plug_in in group.items():
                try:
                    plug_in.close()
                except Exception:
                    log.exception("plug-in did not close", extra={"plug_in": name})


def find(group: Group | str, kind: str) -> type[Any]:
    """Return the class of a kind: built in, else an entry point, else `package.module:Class`.

    Raises ConfigError, without a path and without quoting the kind: unknown, a required package is
    not installed, the import fails, or the class does not implement the contract.
    """
    home = _HOMES[group]
    if _IDENTIFIER.fullmatch(kind) and _exists(home.package, kind):
        found = _checked(home, _load(f"{home.package}.{kind}", home.name, kind))
        # Checked now: some packages are imported only at first use.
        for package in getattr(found, "needs", ()):
            if importlib.util.find_spec(package) is None:
                raise _missing_package(package, kind)
        return found
    if _ENTRY.fullmatch(kind) and (entry := _entries(group).get(kind)):
        return _checked(home, _load(entry.module, entry.attr, kind))
    if dotted := _DOTTED.fullmatch(kind):
        return _checked(home, _load(dotted[1], dotted[2], None))
    known_kinds = ", ".join(known(group)) or "none yet"
    raise ConfigError(
        "",
        "no plug-in has this name",
        f"Known: {known_kinds}; or package.module:Class of your own.",
    )


def known(group: Group | str) -> list[str]:
    """Return the known kinds: built-in plug-ins and installed entry points."""
    package = importlib.import_module(_HOMES[group].package)
    own = {
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if _is_kind(package.__name__, is_package=module.ispkg) and not module.name.startswith("_")
    }
    return sorted(own | set(_entries(group)))


def settings_class(group: Group | str, kind: str) -> type[Table]:
    """Return the `Settings` of a kind. Raises as `find`."""
    settings: type[Table] = find(group, kind).Settings
    base = _HOMES[group].contract.Settings
    if not (isinstance(settings, type) and issubclass(settings, base)):
        raise ConfigError("", f"names a class whose Settings do not inherit {_dotted(base)}")
    return source_settings(settings) if issubclass(settings, SourceSettings) else settings


def outbound(settings: Settings) -> HttpClientFactory:
    """Return the HTTP client factory for the [outbound] table."""
    rules = settings.outbound
    return HttpClientFactory(
        allow_private=rules.allow_private,
        connect_timeout=rules.connect_timeout.total_seconds(),
        read_timeout=rules.read_timeout.total_seconds(),
    )


def build(settings: Settings, outbound: HttpClientFactory) -> Plugins:
    """Build every configured plug-in. A failure is logged and listed in `errors`."""
    errors: list[ConfigError] = []

    def build_group(group: str, tables: Mapping[str, Any], *arguments: Any) -> dict[str, Any]:
        built = {}
        for name, table in tables.items():
            try:
                built[name] = find(PLUG_INS[group], table.kind)(name, table, *arguments)
            except Exception as error:  # noqa: BLE001 - one broken plug-in must not stop the others
                errors.append(_report(f"{group}.{name}", error))
        return built

    return Plugins(
        build_group("sources", settings.sources),
        build_group("targets", settings.targets, outbound),
        build_group("channels", settings.channels, outbound),
        tuple(errors),
    )


def _report(path: str, error: Exception) -> ConfigError:
    if isinstance(error, ConfigError):
        own = error.path.removeprefix(path).strip(".")
        problem = ConfigError(f"{path}.{own}" if own else path, error.message, error.hint)
    elif isinstance(error, RelayError):
        problem = ConfigError(path, error.message, error.hint)
    else:
        # Only the type: a foreign message may quote a secret.
        problem = ConfigError(path, f"the plug-in cannot be created: {type(error).__name__}")
    bug = None if isinstance(error, RelayError) else error
    log.error(
        "plug-in is missing", extra={"path": problem.path, "error": str(problem)}, exc_info=bug
    )
    return problem


def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"relay.{group}")}


def _exists(package: str, kind: str) -> bool:
    spec = importlib.util.find_spec(f"{package}.{kind}")
    return spec is not None and _is_kind(package, is_package=bool(spec.submodule_search_locations))


def _is_kind(package: str, *, is_package: bool) -> bool:
    """Whether a module of the package is a plug-in: in targets and channels, modules are shared."""
    return is_package or package == _HOMES["handlers"].package


def _load(module: str, name: str, kind: str | None) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise ConfigError("", "names a module that is not installed") from error
        raise _missing_package(missing, kind) from error
    except AttributeError as error:
        raise ConfigError("", f"names a module that has no class {name}") from error
    except Exception as error:  # foreign code may raise anything on import
        log.exception("plug-in cannot be imported", extra={"plug_in": module})
        raise ConfigError("", f"cannot be imported: {type(error).__name__}") from error
    return found


def _missing_package(missing: str, kind: str | None) -> ConfigError:
    if missing.startswith(_OWN):
        file = f"{missing.replace('.', '/')}.py"
        hint = "The installation is incomplete, or the plug-in was written for another version."
        return ConfigError("", f"needs the file {file}, which is missing", hint)
    hint = f'Install it: pip install "ziprelay[{kind}]".' if kind else "Install it with pip."
    return ConfigError("", f"needs the Python package {missing}, which is not installed", hint)


def _checked(home: _Home, found: Any) -> type[Any]:
    if not (isinstance(found, type) and issubclass(found, home.contract)):
        raise ConfigError("", f"does not name a subclass of {_dotted(home.contract)}")
    return found


def _dotted(contract: type[Any]) -> str:
    return f"{contract.__module__}.{contract.__name__}"
