"""Bare records: a storage's own JSON, unsigned; a token proves the sender."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs

from relay.model import Incoming
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record, decode, decode_text, records, unreadable

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 50


class Bare(TokenEnvelope):
    """JSON from a sender that knows the token, whatever it is wrapped in."""

    name = "bare"

    def recognises(self, incoming: Incoming) -> bool:  # noqa: ARG002 - it is what no other one is
        """Always: even garbage from a verified sender is kept. So it is asked last."""
        return True

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The records of the body, each an object."""
        if _is_form(incoming):
            return records(decode_text(_published(incoming.body)))
        return records(decode(incoming.body))


def _is_form(incoming: Incoming) -> bool:
    """Whether it says so, and is not the JSON that some clients call one."""
    media = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media == _FORM and incoming.body.lstrip()[:1] not in (b"{", b"[")


def _published(body: bytes) -> str | None:
    """The message in a call of SNS's Publish, which StorageGRID makes wherever it is told to."""
    try:
        form = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise unreadable("it is not a form", "不是表单") from None
    return form.get("Message", [None])[0]
