"""An event becomes a duty: the first route that takes it says where to and as what. Pure."""

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
    """The delivery that the first matching route makes of the event.

    Without a match it is a delivery to nowhere, skipped for "no route", so that it can be seen.
    `options` holds the route's func_name and package as written, and in `groups` what the
    wildcards of its key matched: `names` puts them together once the archive was looked at.
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
                "export_shape": route.export_shape,
                "groups": list(key.groups()),
            }
            function = ordered_by(options, event, None)
            return NewDelivery(label, route.target, options, route.channels, function=function)
    return NewDelivery("", "", {}, state=State.SKIPPED, reason=NO_ROUTE)


def labelled(routes: Sequence[Route]) -> list[tuple[str, Route]]:
    """Each route with what it is called: its `name`, else its source and its number there.

    Numbers count within a source ("exports#1"), so that a route of another source moves none.
    """
    numbers: dict[str, int] = {}
    named = []
    for route in routes:
        numbers[route.source] = numbers.get(route.source, 0) + 1
        named.append((route.name or f"{route.source}#{numbers[route.source]}", route))
    return named


def names(options: Mapping[str, Any], event: Event, function: str | None) -> tuple[str, str]:
    """(func_name, package) for an event, from a delivery's options.

    `function` is the name in the export's YAML, None when the archive is no export. Raises
    PermanentFailure when a field is unknown, and when a name, or {function} or {stem} in it,
    would be empty.
    """
    ref = event.object
    fields = {"function": function or "", "key": ref.key, "bucket": ref.bucket}
    fields["stem"] = stem(ref.key)
    fields |= {str(n): text for n, text in enumerate(options.get("groups", ()), start=1)}
    func_name = _filled("func_name", str(options.get("func_name", "{function}")), fields)
    return func_name, _filled("package", str(options.get("package", "default")), fields)


def ordered_by(options: Mapping[str, Any], event: Event, function: str | None) -> str | None:
    """The function that a delivery must not reach beside or after a newer one; see `names`.

    A name is one function, whatever its package. None: "rename" makes a function of its own each
    time, or it cannot be told (without the archive).
    """
    if options.get("on_conflict") == "rename":
        return None
    try:
        return names({**options, "package": "-"}, event, function)[0]
    except PermanentFailure:
        return None


def stem(key: str) -> str:
    """The last part of a key without `.zip`, and without the MD5 that an export's name ends in."""
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
    # One pass: what is filled in is never taken for a template itself.
    filled = _FIELD.sub(lambda field: fields[field[1]], template)
    lost = any(f"{{{name}}}" in template and not fields[name] for name in ("function", "stem"))
    if lost or not filled:
        raise _empty(option, template)
    return filled


def _empty(option: str, template: str) -> PermanentFailure:
    return PermanentFailure(
        "route.empty_name",
        Localized(
            f"The route's {option}, {template}, comes out empty for this object",
            f"路由的 {option}（{template}）对该对象得出的名称为空",
        ),
        Localized(
            "Is the archive a FunctionGraph export? If not, set func_name to {stem} or to a name "
            "of your own.",
            "该压缩包是 FunctionGraph 导出包吗？如果不是，请把 func_name 设为 {stem} 或自定名称。",
        ),
    )
