"""Decides whether a function shows that an update took effect, and what digest its code has.

A success alone proves nothing: a proxy or a replica may have sent it. So the configuration is read
before and after a call, and compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from relay.errors import OutcomeUnknown
from relay.model import Json, Localized
from relay.targets.functiongraph.configuration import kept_fields
from relay.targets.functiongraph.named import code_size


def shows_new_code(before: Json, answer: Json, after: Json, ours: Collection[str]) -> bool:
    """Return whether a function has changed as by UpdateFunctionCode.

    `answer`: the response to the call, which names the function. `ours`: the digests, in lower
    case, that this code may have. Equal code may leave digest and size as they were; the time of
    the last change moves then, in seconds, if the target reports it.
    """
    if _digest(after) in ours:
        return True
    is_dated = _is_time(before) and _is_time(after)
    if before.get("last_modified") != after.get("last_modified"):
        return True
    if _digest(answer) and _digest(answer) == _digest(before):
        return not is_dated
    has_changed = _digest(before) != _digest(after) or code_size(before) != code_size(after)
    return has_changed or not is_dated


def state(configuration: Mapping[str, Any]) -> tuple[Any, Json]:
    """Return what a change of the configuration changes.

    The time has a resolution of seconds, so the settings are compared as well.
    """
    return configuration.get("last_modified"), kept_fields(configuration)


def digest_of_new_code(
    before: Json, answer: Json, after: Json, ours: Collection[str]
) -> str | None:
    """Return the digest that the target reports for the code of a call; None if it is not sure.

    The core learns from it, so the digest is never that of other code: that before the call, or
    that of another user who has changed the function since.
    """
    digest = _digest(after)
    if digest in ours:
        return digest
    if digest in ("", _digest(before)):
        return None
    if _digest(answer):
        return digest if digest == _digest(answer) else None
    modified = answer.get("last_modified")
    return digest if modified and modified == after.get("last_modified") else None


def not_shown(func_name: str, request_id: str, part: Localized) -> OutcomeUnknown:
    """Return the error for a call that was confirmed and that the function does not show."""
    request = f" (request {request_id})" if request_id else ""
    return OutcomeUnknown(
        "functiongraph.not_shown",
        Localized(
            f"FunctionGraph confirmed an update of {func_name}{request}, but the function does not"
            f" show the new {part.en}",
            f"FunctionGraph 确认已更新函数 {func_name}{request}，但查询不到新的{part.zh}",
        ),
        Localized(
            "If this recurs, check the endpoint and any proxies. Relay checks what the function has"
            " and retries.",
            "若反复出现，请检查 endpoint 以及代理配置。Relay 会查询函数的实际内容并重试。",
        ),
    )


CODE = Localized("code", "代码")
CONFIGURATION = Localized("configuration", "配置")


def _digest(fields: Json) -> str:
    return str(fields.get("digest") or "").lower()


def _is_time(fields: Json) -> bool:
    """Whether the time of the last change can be read: it then moves with each change."""
    text = str(fields.get("last_modified") or "")
    if text.isascii() and text.isdecimal():
        return True
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
