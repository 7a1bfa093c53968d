"""Validates names and configurations of functions with the rules of FunctionGraph.

The allowed values are those in the documentation of the import API. Inferred: a handler needs a
dot, except for the runtimes in NO_DOT, which have a file as handler or no handler.
"""

from __future__ import annotations

import json
import re
from typing import Any

from relay.model import Json
from relay.testing.sandbox.replies import refusal

FUNC_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?")
PACKAGE = re.compile(r"[A-Za-z0-9_]{1,255}")
RUNTIMES = frozenset(
    {"Java8", "Java11", "Java17", "Java21", "Python2.7", "Python3.6", "Python3.9", "Python3.10"}
    | {"Python3.12", "Go1.x", "Node.js6.10", "Node.js8.10", "Node.js10.16", "Node.js12.13"}
    | {"Node.js14.18", "Node.js16.17", "Node.js18.15", "Node.js20.15", "C#(.NET Core 2.1)"}
    | {"C#(.NET Core 3.1)", "C#(.NET Core 6.0)", "C#(.NET Core 8.0)", "Custom", "PHP7.3", "PHP8.3"}
    | {"Cangjie1.0", "Cangjie0.52.3", "http", "Custom Image"}
)
NO_DOT = frozenset({"Go1.x", "Custom", "http", "Custom Image", "Cangjie1.0", "Cangjie0.52.3"})
MEMORY_SIZES = frozenset({128, *range(256, 3585, 256), 4096})
CODE_TYPES = frozenset({"inline", "zip", "jar"})


def check_names(func_name: Any, package: Any) -> None:
    """Raise FSS.1002 or FSS.1004 for an invalid name."""
    if not isinstance(func_name, str) or not FUNC_NAME.fullmatch(func_name):
        raise refusal("FSS.1002")
    if not isinstance(package, str) or not PACKAGE.fullmatch(package):
        raise refusal("FSS.1004")


def check_configuration(config: Json) -> None:
    """Raise the error for the first field that CreateFunction would reject."""
    runtime = config.get("runtime")
    if runtime not in RUNTIMES:
        raise refusal("FSS.1005")
    if not _is_handler(config.get("handler"), str(runtime)):
        raise refusal("FSS.1003")
    if not _is_number(config.get("memory_size")) or config["memory_size"] not in MEMORY_SIZES:
        raise refusal("FSS.1007")
    if not _is_number(config.get("timeout")) or not 3 <= config["timeout"] <= 259200:
        raise refusal("FSS.1008")
    description = config.get("description") or ""
    if not isinstance(description, str) or len(description) > 512:
        raise refusal("FSS.1019")
    _check_user_data(config.get("user_data") or "{}")


def _is_handler(handler: Any, runtime: str) -> bool:
    if not isinstance(handler, str) or not handler.isprintable():
        return False
    if runtime in NO_DOT:
        return 1 <= len(handler) <= 128
    return 3 <= len(handler) <= 128 and "." in handler


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_user_data(text: Any) -> None:
    try:
        variables = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise refusal("FSS.1009") from None
    if not isinstance(variables, dict):
        raise refusal("FSS.1009")
    if len(variables) > 20:
        raise refusal("FSS.1017")
    if len(text) > 4096:
        raise refusal("FSS.1018")
