"""Azure: webhook deliveries of Azure Event Grid, in Azure's schema and as CloudEvents.

Wire formats: Azure Event Grid, "Event Grid event schema", "CloudEvents v1.0 schema" and "Webhook
event delivery". Nothing is signed; the sender shows the source's token or a JWT of Entra.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from relay.errors import Unreadable, Unverified
from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes import cloudevent_forms as forms
from relay.sources.envelopes.oidc import ENTRA, JwtEnvelope
from relay.sources.envelopes.unwrap import Record, decode_json_text, unreadable
from relay.sources.fields import text

ORIGIN = "eventgrid.azure.net"
"""The origin of Event Grid's CloudEvents handshake, which has no credentials outside the URL."""

_SYSTEM_EVENT = "Microsoft.EventGrid."
"""The type prefix of events about the subscription itself."""

_VALIDATION = f"{_SYSTEM_EVENT}SubscriptionValidationEvent"


class Azure(JwtEnvelope):
    """Events of Event Grid from a sender with a JWT of Entra, or with the source's token."""

    name = "azure"
    secret_fields = ("validationUrl", "validationCode")
    providers = (ENTRA,)

    def recognises(self, incoming: Incoming) -> bool:
        if forms.is_permission_request(incoming):
            return "cloudevents" not in self.settings.accept or _origin(incoming) == ORIGIN
        if any(name.startswith("aeg-") for name in incoming.headers):
            return True
        if b'"eventType"' not in incoming.body and b'"Microsoft.' not in incoming.body:
            return False
        return any(map(_is_azure_event, forms.list_items(incoming)))

    def verify(self, incoming: Incoming) -> None:
        """Verify a delivery, or a handshake of either schema.

        The handshake of the Event Grid schema has the credentials of a delivery. The handshake of
        the CloudEvents schema has the token in the URL, or comes from Event Grid's origin.
        """
        if not forms.is_permission_request(incoming):
            super().verify(incoming)
        elif not forms.has_url_token(self.settings, incoming) and _origin(incoming) != ORIGIN:
            raise Unverified(
                "hook.unverified",
                "The request for permission to send does not come from Event Grid",
                f"Without the token in the URL, only {ORIGIN} can ask for permission.",
            )

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """Return the validation code (Event Grid schema), or give permission (CloudEvents)."""
        if incoming.method != "POST":
            return forms.permission_reply(incoming)
        if _VALIDATION.encode() not in incoming.body:
            return None
        codes = [_validation_code(item) for item in forms.list_items(incoming)]
        # A body with other events is not a handshake: answering it would lose those events.
        if len(codes) != 1 or codes[0] is None:
            return None
        body = json.dumps({"validationResponse": codes[0]}).encode()
        return HandshakeReply(body=body, headers={"Content-Type": "application/json"})

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the events in their schema, without events about the subscription itself."""
        for record in forms.read_events(incoming, _read_event):
            if not _event_type(record).startswith(_SYSTEM_EVENT):
                yield record


def _read_event(event: Any) -> Iterator[Record]:
    if isinstance(event, dict) and "specversion" in event:
        yield from forms.read_event(event)
        return
    if not isinstance(event, dict):
        raise unreadable("an event of Event Grid should be an object", "Event Grid 事件应为对象")
    text(event, "eventType")
    yield event


def _validation_code(event: Any) -> str | None:
    """The code of a validation event, None for other events or without a code."""
    if not isinstance(event, dict) or _event_type(event) != _VALIDATION:
        return None
    data = event.get("data")
    if isinstance(data, str):
        try:
            data = decode_json_text(data)
        except Unreadable:
            return None
    code = data.get("validationCode") if isinstance(data, dict) else None
    return code if isinstance(code, str) and code.isprintable() and len(code) < 200 else None


def _is_azure_event(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    if "specversion" in event:
        return _event_type(event).startswith("Microsoft.")
    return {"eventType", "subject", "data"} <= event.keys()


def _event_type(event: Mapping[str, Any]) -> str:
    event_type = event.get("eventType", event.get("type"))
    return event_type if isinstance(event_type, str) else ""


def _origin(incoming: Incoming) -> str:
    return incoming.headers.get("webhook-request-origin", "").lower()
