"""Fields that every log line carries while a request is answered."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("relay_request_id", default=None)
"""The id of the request that is being answered; None outside of requests."""
