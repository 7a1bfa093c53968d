"""The wrappings that notifications travel in, one file each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

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
from relay.sources.envelopes.standard_webhooks import Signed

_KNOWN: Iterable[type[Envelope]] = (
    Sns,
    Smn,
    Mns,
    B2,
    Oci,
    Signed,
    EventBridge,
    PubSub,
    Azure,
    EventGrid,
    CloudEvents,
    Bare,
)

ENVELOPES: Mapping[str, type[Envelope]] = MappingProxyType({one.name: one for one in _KNOWN})
"""By name. Ask them in this order: bare recognises everything and comes last."""
