"""Terraform snippets made of plain values, so that they are always well-formed. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Expression(str):
    """Terraform's own words, such as a reference; everything else is a quoted value."""

    __slots__ = ()


def block(head: str, body: Mapping[str, Any], depth: int = 0) -> str:
    """`head { ... }`. A mapping is a block within, a list of mappings several of its name."""
    indent = "  " * (depth + 1)
    lines = []
    for key, value in body.items():
        inner = value if isinstance(value, list) else [value]
        if inner and all(isinstance(one, Mapping) for one in inner):
            lines += [indent + block(key, one, depth + 1) for one in inner]
        else:
            lines.append(f"{indent}{key} = {_value(value)}")
    return "\n".join([f"{head} {{", *lines, "  " * depth + "}"])


def resource(kind: str, name: str, body: Mapping[str, Any]) -> str:
    return block(f'resource "{kind}" "{name}"', body)


def secret(name: str) -> str:
    """A variable that Terraform is given and does not show: TF_VAR_name, or a .tfvars file."""
    return block(f'variable "{name}"', {"type": Expression("string"), "sensitive": True})


def encoded(value: Any) -> Expression:
    """A JSON document within Terraform."""
    return Expression(f"jsonencode({_escaped(json.dumps(value))})")


def joined(*parts: str) -> str:
    """Blocks with an empty line between them."""
    return "\n\n".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, Expression):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return _escaped(json.dumps(value, ensure_ascii=False))


def _escaped(text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{")
