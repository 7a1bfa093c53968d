"""The list of envelopes. A new envelope is a module and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from types import new_class
from typing import cast

from relay.config.load import SourceSettings
from relay.sources.envelope import Envelope
from relay.sources.envelopes.azure import Azure
from relay.sources.envelopes.b2 import B2
from relay.sources.envelopes.bare import Bare
from relay.sources.envelopes.cloudevents import CloudEvents
from relay.sources.envelopes.eventbridge import EventBridge
from relay.sources.envelopes.eventgrid import EventGrid
from relay.sources.envelopes.mns import Mns
from relay.sources.envelopes.oci import Oci
from relay.sources.envelopes.pubsub import PubSub
from relay.sources.envelopes.smn import Smn
from relay.sources.envelopes.sns import Sns
from relay.sources.envelopes.standard_webhooks import StandardWebhooks

ENVELOPES: Mapping[str, type[Envelope]] = {
    "sns": Sns,
    "smn": Smn,
    "mns": Mns,
    "b2": B2,
    "oci": Oci,
    "signed": StandardWebhooks,
    "eventbridge": EventBridge,
    "pubsub": PubSub,
    "azure": Azure,
    "eventgrid": EventGrid,
    "cloudevents": CloudEvents,
    "bare": Bare,
}
"""Name in `accept` -> class, in the order of trial. Bare matches everything, so it comes last."""


def source_settings(settings: type[SourceSettings]) -> type[SourceSettings]:
    """Extend the settings of a storage: `accept` takes the listed envelopes, and their keys exist.

    Returns a subclass, because relay.config cannot import the list of envelopes.
    """
    added = dict.fromkeys(envelope.Settings for envelope in ENVELOPES.values())
    bases = (settings, *(model for model in added if not issubclass(settings, model)))
    namespace = {
        "__module__": settings.__module__,
        "__doc__": settings.__doc__,
        "envelopes": tuple(ENVELOPES),
    }
    extended = new_class(settings.__name__, bases, exec_body=lambda body: body.update(namespace))
    return cast("type[SourceSettings]", extended)


def secret_fields() -> tuple[str, ...]:
    """The JSON fields of all envelopes that stored bodies must not contain."""
    return tuple(field for envelope in ENVELOPES.values() for field in envelope.secret_fields)
