"""Bare: a storage's own JSON without a wrapping, verified by the source's token."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs

from relay.model import Incoming
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import (
    Record,
    decode_json,
    decode_json_text,
    unreadable,
    unwrap_records,
)

_FORM = "application/x-www-form-urlencoded"
_MAX_FORM_FIELDS = 50


class Bare(TokenEnvelope):
    """JSON in any wrapping, from a sender with the token."""

    name = "bare"

    def recognises(self, incoming: Incoming) -> bool:  # noqa: ARG002 - matches everything
        """Match everything: unreadable bodies of verified senders are stored too."""
        return True

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the records of a JSON body, or of an SNS Publish call."""
        if _is_form(incoming):
            return unwrap_records(decode_json_text(_published_message(incoming.body)))
        return unwrap_records(decode_json(incoming.body))


def _is_form(incoming: Incoming) -> bool:
    """Whether the body is a form. Some clients send JSON under the content type of a form."""
    media_type = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == _FORM and incoming.body.lstrip()[:1] not in (b"{", b"[")


def _published_message(body: bytes) -> str | None:
    """The message of an SNS Publish call, which StorageGRID sends to any endpoint."""
    try:
        form = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except ValueError:
        raise unreadable("it is not a form", "不是表单") from None
    return form.get("Message", [None])[0]
