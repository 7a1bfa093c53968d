"""Azure Event Grid's deliveries to a webhook, in its own schema and as CloudEvents.

Wire formats: Azure Event Grid, "Event Grid event schema", "CloudEvents v1.0 schema" and "Webhook
event delivery". Nothing is signed: a token, or a JWT of Entra's, proves the sender.
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
from relay.sources.envelopes.unwrap import Record, decode_text, unreadable
from relay.sources.fields import text

ORIGIN = "eventgrid.azure.net"
"""Who asks before CloudEvents are sent. It can show only what is in the hook's address."""

_OWN = "Microsoft.EventGrid."
"""Events about the subscription itself."""

_VALIDATION = f"{_OWN}SubscriptionValidationEvent"


class Azure(JwtEnvelope):
    """Events of Event Grid from a sender with Entra's token, or with the source's own."""

    name = "azure"
    providers = (ENTRA,)

    def recognises(self, incoming: Incoming) -> bool:
        if forms.asks(incoming):
            return "cloudevents" not in self.settings.accept or _origin(incoming) == ORIGIN
        if any(name.startswith("aeg-") for name in incoming.headers):
            return True
        if b'"eventType"' not in incoming.body and b'"Microsoft.' not in incoming.body:
            return False
        return any(_is_ours(one) for one in forms.shape(incoming))

    def verify(self, incoming: Incoming) -> None:
        """The handshake of the Event Grid schema shows what every delivery shows; that of the
        CloudEvents schema shows the address's token, or comes from Event Grid's origin."""
        if not forms.asks(incoming):
            super().verify(incoming)
        elif not forms.knows_token(self.settings, incoming) and _origin(incoming) != ORIGIN:
            raise Unverified(
                "hook.unverified",
                "Another than Event Grid asks whether it may send",
                f"Only {ORIGIN} may ask without the token in the address.",
            )

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """The code of the Event Grid schema's handshake, or the CloudEvents schema's consent."""
        if incoming.method != "POST":
            return forms.consent(incoming)
        if _VALIDATION.encode() not in incoming.body:
            return None
        codes = [_code(one) for one in forms.shape(incoming)]
        # Beside anything else it would be no handshake, and the rest would be lost.
        if len(codes) != 1 or codes[0] is None:
            return None
        body = json.dumps({"validationResponse": codes[0]}).encode()
        return HandshakeReply(body=body, headers={"Content-Type": "application/json"})

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The events, each as its schema has it; none of those about the subscription itself."""
        for record in forms.read(incoming, _event):
            if not _name(record).startswith(_OWN):
                yield record


def _event(one: Any) -> Iterator[Record]:
    if isinstance(one, dict) and "specversion" in one:
        yield from forms.event(one)
        return
    if not isinstance(one, dict):
        raise unreadable("an event of Event Grid should be an object", "Event Grid 事件应为对象")
    text(one, "eventType")
    yield one


def _code(one: Any) -> str | None:
    """The code of a validation event; None: it is another, or has none."""
    if not isinstance(one, dict) or _name(one) != _VALIDATION:
        return None
    data = one.get("data")
    if isinstance(data, str):
        try:
            data = decode_text(data)
        except Unreadable:
            return None
    code = data.get("validationCode") if isinstance(data, dict) else None
    return code if isinstance(code, str) and code.isprintable() and len(code) < 200 else None


def _is_ours(one: Any) -> bool:
    if not isinstance(one, dict):
        return False
    if "specversion" in one:
        return _name(one).startswith("Microsoft.")
    return {"eventType", "subject", "data"} <= one.keys()


def _name(event: Mapping[str, Any]) -> str:
    found = event.get("eventType", event.get("type"))
    return found if isinstance(found, str) else ""


def _origin(incoming: Incoming) -> str:
    return incoming.headers.get("webhook-request-origin", "").lower()
