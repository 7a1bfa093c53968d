"""Reads a request body up to a limit, with or without Content-Length."""

from __future__ import annotations

from flask import request

from relay.errors import TooLarge
from relay.model import Localized
from relay.web.problems import Refused

CHUNK = 64 * 1024
UNBOUNDED = 2**62


def read_body(limit: int) -> bytes:
    """Return the raw body. Raises TooLarge over `limit` bytes, Refused (400) if it is incomplete.

    MAX_CONTENT_LENGTH is not enough: werkzeug 3.1 silently truncates a chunked body at that limit
    and still calls the view.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    # None would apply MAX_CONTENT_LENGTH, which is meant for forms.
    request.max_content_length = UNBOUNDED
    chunks: list[bytes] = []
    size = 0
    while size <= limit and (chunk := _read(min(CHUNK, limit + 1 - size))):
        chunks.append(chunk)
        size += len(chunk)
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def _read(size: int) -> bytes:
    try:
        return request.stream.read(size)
    except Exception as error:
        # The exception for a malformed chunk depends on the WSGI server.
        raise Refused(
            400,
            "request.broken",
            Localized("The request body is incomplete or malformed", "请求体不完整或格式错误"),
        ) from error


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        "request.too_large",
        Localized(f"The request body is larger than {limit} bytes", f"请求体超过 {limit} 字节"),
        Localized(
            "hooks.max_body sets the limit for notifications.", "通知的上限由 hooks.max_body 设置。"
        ),
    )
