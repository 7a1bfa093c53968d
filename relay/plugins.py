"""kind -> class, for all three sorts of plug-ins; settings -> the plug-ins themselves."""

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
from relay.config.load import PLUG_INS, Settings, Table
from relay.errors import ConfigError, RelayError
from relay.outbound.session import HttpClientFactory
from relay.sources.contract import StorageHandler
from relay.targets.contract import Target

log = logging.getLogger(__name__)

Group = Literal["handlers", "targets", "channels"]


class _Home(NamedTuple):
    """Where a group's own plug-ins live, what their class is called and must be."""

    package: str
    name: str
    contract: type[Any]


_HOMES: Mapping[str, _Home] = {
    "handlers": _Home("relay.handlers", "Handler", StorageHandler),
    "targets": _Home("relay.targets", "Target", Target),
    "channels": _Home("relay.channels", "Channel", Channel),
}
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ENTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)


@dataclass(frozen=True)
class Plugins:
    """Every configured plug-in by its name in relay.toml.

    `errors`: why the others are missing; what belongs to them waits until they are there.
    """

    sources: Mapping[str, StorageHandler]
    targets: Mapping[str, Target]
    channels: Mapping[str, Channel]
    errors: tuple[ConfigError, ...] = field(default=())

    def close(self) -> None:
        """Closes each of them, also when another one fails to."""
        for group in (self.sources, self.targets, self.channels):
            for name, plug_in in group.items():
                try:
                    plug_in.close()
                except Exception:
                    log.exception("plug-in did not close", extra={"plug_in": name})


def find(group: Group | str, kind: str) -> type[Any]:
    """The class of a kind: our own module, else an entry point, else `package.module:Class`.

    ConfigError, without a path and without quoting the kind: there is none, it needs a package
    that is not installed, it cannot be imported, or it does not keep the contract.
    """
    home = _HOMES[group]
    if _IDENTIFIER.fullmatch(kind) and _exists(home.package, kind):
        return _complete(_checked(home, _load(f"{home.package}.{kind}", home.name, kind)), kind)
    if _ENTRY.fullmatch(kind) and (entry := _entries(group).get(kind)):
        return _checked(home, _load(entry.module, entry.attr, kind))
    if dotted := _DOTTED.fullmatch(kind):
        return _checked(home, _load(dotted[1], dotted[2], None))
    known_here = ", ".join(known(group)) or "none yet"
    raise ConfigError(
        "", "no plug-in has this name", f"Known: {known_here}; or package.module:Class of your own."
    )


def known(group: Group | str) -> list[str]:
    """The kinds that can be named: our own modules and the entry points that are installed."""
    package = importlib.import_module(_HOMES[group].package)
    own = {
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if _is_kind(package.__name__, is_package=module.ispkg)
    }
    return sorted({name for name in own if not name.startswith("_")} | set(_entries(group)))


def settings_class(group: Group | str, kind: str) -> type[Table]:
    """The `Settings` of a kind; the errors of `find`."""
    settings = find(group, kind).Settings
    base = _HOMES[group].contract.Settings
    if not (isinstance(settings, type) and issubclass(settings, base)):
        raise ConfigError("", f"its Settings is no {base.__module__}.{base.__name__}")
    return settings


def outbound(settings: Settings) -> HttpClientFactory:
    """The way out, as the [outbound] table says."""
    rules = settings.outbound
    return HttpClientFactory(
        allow_private=rules.allow_private,
        connect_timeout=rules.connect_timeout.total_seconds(),
        read_timeout=rules.read_timeout.total_seconds(),
    )


def build(settings: Settings, outbound: HttpClientFactory) -> Plugins:
    """Makes every configured plug-in. One that fails is missing, logged, and told in `errors`."""
    errors: list[ConfigError] = []

    def made(group: str, tables: Mapping[str, Any], *given: Any) -> dict[str, Any]:
        kept = {}
        for name, table in tables.items():
            try:
                kept[name] = find(PLUG_INS[group], table.kind)(name, table, *given)
            except Exception as error:  # noqa: BLE001 - one broken plug-in must not stop the others
                errors.append(_told(f"{group}.{name}", error))
        return kept

    return Plugins(
        made("sources", settings.sources),
        made("targets", settings.targets, outbound),
        made("channels", settings.channels, outbound),
        tuple(errors),
    )


def _told(path: str, error: Exception) -> ConfigError:
    if isinstance(error, ConfigError):
        own = error.path.removeprefix(path).strip(".")
        told = ConfigError(f"{path}.{own}" if own else path, error.message, error.hint)
    elif isinstance(error, RelayError):
        told = ConfigError(path, error.message, error.hint)
    else:
        # Only its type: a stranger's words may quote a secret.
        told = ConfigError(path, f"its plug-in cannot be made: {type(error).__name__}")
    bug = None if isinstance(error, RelayError) else error
    log.error("plug-in is missing", extra={"path": told.path, "error": str(told)}, exc_info=bug)
    return told


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
        raise _not_there(module, error, kind) from error
    except AttributeError as error:
        raise ConfigError("", f"its module has no class {name}") from error
    except Exception as error:  # a stranger's module may raise anything while it is imported
        log.exception("plug-in cannot be imported", extra={"plug_in": module})
        raise ConfigError("", f"cannot be imported: {type(error).__name__}") from error
    return found


def _not_there(module: str, error: ModuleNotFoundError, kind: str | None) -> ConfigError:
    missing = error.name or ""
    if module == missing or module.startswith(f"{missing}."):
        return ConfigError("", "names a module that is not installed")
    hint = f'Install it: pip install "ziprelay[{kind}]".' if kind else "Install it with pip."
    return ConfigError("", f"needs the Python package {missing}, which is not installed", hint)


def _complete(found: type[Any], kind: str) -> type[Any]:
    """Packages that are imported at first use are missed now, and not at three in the morning."""
    for package in getattr(found, "needs", ()):
        if importlib.util.find_spec(package) is None:
            raise _not_there("", ModuleNotFoundError(name=package), kind)
    return found


def _checked(home: _Home, found: Any) -> type[Any]:
    if not (isinstance(found, type) and issubclass(found, home.contract)):
        raise ConfigError("", f"names something that is no relay {home.contract.__name__}")
    return found
