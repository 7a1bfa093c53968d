"""Reads a request's body with a bound, however it was framed."""

from __future__ import annotations

from flask import request

from relay.errors import TooLarge
from relay.model import Localized
from relay.web.problems import Refused

CHUNK = 64 * 1024
UNBOUNDED = 2**62


def read_body(limit: int) -> bytes:
    """The raw body. Raises TooLarge over `limit` bytes, Refused (400) when it breaks off.

    Counted here and not left to MAX_CONTENT_LENGTH: werkzeug 3.1 silently cuts a chunked body at
    that limit and lets the view run on the rest.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    # None would mean MAX_CONTENT_LENGTH again, which is for forms.
    request.max_content_length = UNBOUNDED
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := _read(min(CHUNK, limit + 1 - size))):
        parts.append(part)
        size += len(part)
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _read(size: int) -> bytes:
    try:
        return request.stream.read(size)
    except Exception as error:
        # Each server has its own exceptions for bad chunks; none of them is a fault of ours.
        raise _broken() from error


def _broken() -> Refused:
    return Refused(
        400,
        "request.broken",
        Localized("The body ended early or is badly framed", "请求体不完整或格式错误"),
    )


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        "request.too_large",
        Localized(f"The body is larger than {limit} bytes", f"请求体超过 {limit} 字节"),
        Localized(
            "hooks.max_body sets the limit for notifications.", "通知的上限由 hooks.max_body 设置。"
        ),
    )
