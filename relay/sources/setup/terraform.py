"""Well-formed Terraform snippets from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Expression(str):
    """A Terraform expression, such as a reference; all other values are quoted."""

    __slots__ = ()


def block(head: str, body: Mapping[str, Any], depth: int = 0) -> str:
    """`head { ... }`. A mapping is a nested block, a list of mappings several of that name."""
    indent = "  " * (depth + 1)
    lines = []
    for key, value in body.items():
        values = value if isinstance(value, list) else [value]
        if values and all(isinstance(item, Mapping) for item in values):
            lines += [indent + block(key, item, depth + 1) for item in values]
        else:
            lines.append(f"{indent}{key} = {_value(value)}")
    return "\n".join([f"{head} {{", *lines, "  " * depth + "}"])


def resource(kind: str, name: str, body: Mapping[str, Any]) -> str:
    return block(f'resource "{kind}" "{name}"', body)


def variable(name: str) -> str:
    """A variable of type string."""
    return block(f'variable "{name}"', {"type": Expression("string")})


def secret_variable(name: str) -> str:
    """A variable that Terraform does not print; set by TF_VAR_name or in a .tfvars file."""
    return block(f'variable "{name}"', {"type": Expression("string"), "sensitive": True})


def jsonencode(value: Any) -> Expression:
    """A JSON document in Terraform."""
    return Expression(f"jsonencode({_escape(json.dumps(value))})")


def join_blocks(*blocks: str) -> str:
    """Separate blocks by an empty line."""
    return "\n\n".join(blocks)


def _value(value: Any) -> str:
    if isinstance(value, Expression):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return _escape(json.dumps(value, ensure_ascii=False))


def _escape(text: str) -> str:
    return text.replace("${", "$${").replace("%{", "%%{")
