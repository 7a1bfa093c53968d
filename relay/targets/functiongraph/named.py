"""Reads which function a response of the API is about: func_name, package and func_urn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.config.text import excerpt
from relay.model import Json
from relay.targets.changes import FunctionName

_URN_PARTS = 7
_ERRORS = ("error_code", "errorCode")


@dataclass(frozen=True, slots=True)
class _Urn:
    project_id: str
    function: FunctionName


def named_function(
    fields: Mapping[str, Any], asked: FunctionName, project_id: str
) -> FunctionName | None:
    """Return the function that a response names: `asked` only if no field contradicts.

    A part that is left out is taken from `asked`. None if the response names no function of the
    project, or reports an error.
    """
    func_name, package = _text(fields, "func_name"), _text(fields, "package")
    urn_text = _text(fields, "func_urn")
    if any(fields.get(name) for name in _ERRORS) or not (func_name or urn_text):
        return None
    named = FunctionName(func_name or asked.func_name, package or asked.package)
    if not urn_text:
        return named
    urn = _read_urn(urn_text)
    if urn is None or urn.project_id != project_id:
        return None
    return named if urn.function == asked else urn.function


def shows_configuration(fields: Mapping[str, Any], asked: FunctionName, project_id: str) -> bool:
    """Return whether a response is the configuration of the function, and of no other."""
    is_complete = _text(fields, "func_name") and _text(fields, "runtime")
    return bool(is_complete) and named_function(fields, asked, project_id) == asked


def named_package(fields: Mapping[str, Any]) -> str:
    """Return the package that a response names, or ""."""
    urn = _read_urn(_text(fields, "func_urn"))
    return _text(fields, "package") or (urn.function.package if urn else "")


def describe_name(fields: Mapping[str, Any]) -> str:
    """Describe in a few words what a response names."""
    names = (*_ERRORS, "func_name", "package", "func_urn", "runtime")
    shown = [f"{name}={fields[name]}" for name in names if fields.get(name)]
    return excerpt(", ".join(shown) or "no func_name")


def code_size(fields: Json) -> int | None:
    """Return code_size, which may be a text."""
    size = fields.get("code_size")
    if isinstance(size, str) and size.isascii() and size.isdecimal() and len(size) < 19:
        return int(size)
    return size if type(size) is int else None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _read_urn(urn: str) -> _Urn | None:
    """Read urn:fss:REGION:PROJECT:function:PACKAGE:NAME, with or without :latest."""
    parts = urn.split(":")
    if parts[:2] != ["urn", "fss"] or parts[_URN_PARTS:] not in ([], ["latest"]):
        return None
    if len(parts) < _URN_PARTS or parts[4] != "function":
        return None
    return _Urn(parts[3], FunctionName(parts[6], parts[5]))
