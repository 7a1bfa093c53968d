"""The text of a queue's message: a notification as it is, or in base64."""

from __future__ import annotations

import base64


def decoded(text: str) -> bytes:
    """The notification's bytes. JSON needs no base64, and no base64 looks like JSON."""
    if text.lstrip()[:1] not in ("{", "["):
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            pass  # not encoded: it is the text itself
    return text.encode("utf-8", "surrogatepass")
