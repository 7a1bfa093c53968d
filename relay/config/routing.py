"""Routing: the first route that matches an event makes the delivery. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from relay.config.globs import compile_glob
from relay.config.load import Route
from relay.errors import PermanentFailure
from relay.model import Event, Localized, NewDelivery, State

NO_ROUTE = "no route"

_FIELD = re.compile(r"\{([^{}]*)\}")
_DIGEST = re.compile(r"(.+?)[-_]?[0-9a-fA-F]{32}", re.DOTALL)


def match(routes: Sequence[Route], source: str, event: Event) -> NewDelivery:
    """Return the delivery that the first matching route makes of the event.

    Without a match, return a skipped delivery with the reason "no route", so that the event stays
    visible. `options` holds func_name and package of the route as written, and in `groups` the
    matches of the wildcards in the key: `names` combines them after the archive was inspected.
    """
    for label, route in labelled(routes):
        if route.source != source:
            continue
        key = compile_glob(route.key).fullmatch(event.object.key)
        if key and compile_glob(route.bucket).fullmatch(event.object.bucket):
            options = {
                "func_name": route.func_name,
                "package": route.package,
                "on_conflict": route.on_conflict,
                "replace_environment": route.replace_environment,
                "export_shape": route.export_shape,
                "groups": list(key.groups()),
            }
            function = ordered_by(options, event, None)
            return NewDelivery(label, route.target, options, route.channels, function=function)
    return NewDelivery("", "", {}, state=State.SKIPPED, reason=NO_ROUTE)


def labelled(routes: Sequence[Route]) -> list[tuple[str, Route]]:
    """Pair each route with a label: the configured `name`, else source and number ("exports#1").

    Numbers count within a source: adding a route to another source changes no label.
    """
    numbers: dict[str, int] = {}
    named = []
    for route in routes:
        numbers[route.source] = numbers.get(route.source, 0) + 1
        named.append((route.name or f"{route.source}#{numbers[route.source]}", route))
    return named


def names(options: Mapping[str, Any], event: Event, function: str | None) -> tuple[str, str]:
    """(func_name, package) for an event, from a delivery's options.

    `function` is the name in the export's YAML, None when the archive is not an export. Raises
    PermanentFailure when a field is unknown, and when a name, {function} or {stem} would be empty.
    """
    ref = event.object
    fields = {"function": function or "", "key": ref.key, "bucket": ref.bucket}
    fields["stem"] = stem(ref.key)
    fields |= {str(n): text for n, text in enumerate(options.get("groups", ()), start=1)}
    func_name = _filled("func_name", str(options.get("func_name", "{function}")), fields)
    return func_name, _filled("package", str(options.get("package", "default")), fields)


def ordered_by(options: Mapping[str, Any], event: Event, function: str | None) -> str | None:
    """Return the function name that orders deliveries: a newer upload must not be overtaken.

    The package does not count. None: the name is not known without the archive.
    """
    try:
        return names({**options, "package": "-"}, event, function)[0]
    except PermanentFailure:
        return None


def stem(key: str) -> str:
    """Return the last part of a key, without `.zip` and the MD5 that FunctionGraph appends."""
    last = key.rpartition("/")[2]
    if last.lower().endswith(".zip"):
        last = last[:-4]
    digest = _DIGEST.fullmatch(last)
    return digest[1] if digest else last


def _filled(option: str, template: str, fields: Mapping[str, str]) -> str:
    unknown = [name for name in _FIELD.findall(template) if name not in fields]
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in sorted(fields))
        raise PermanentFailure(
            "route.template",
            Localized(
                f"The route's {option} has {{{unknown[0]}}}, which is not known",
                f"路由的 {option} 中有未知的 {{{unknown[0]}}}",
            ),
            Localized(f"Known are {known}.", f"可用的有 {known}。"),
        )
    # A single pass: inserted values are never expanded again.
    filled = _FIELD.sub(lambda field: fields[field[1]], template)
    lost = any(f"{{{name}}}" in template and not fields[name] for name in ("function", "stem"))
    if lost or not filled:
        raise PermanentFailure(
            "route.empty_name",
            Localized(
                f"The route's {option}, {template}, comes out empty for this object",
                f"路由的 {option}（{template}）对该对象得出的名称为空",
            ),
            Localized(
                "Is the archive a FunctionGraph export? If not, set func_name to {stem} or to a "
                "name of your own.",
                "该压缩包是 FunctionGraph 导出包吗？如果不是，请把 func_name 设为 {stem} "
                "或自定名称。",
            ),
        )
    return filled
