"""The wrappings that notifications travel in, one file each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from relay.envelope import Envelope
from relay.envelopes.azure import Azure
from relay.envelopes.b2 import B2
from relay.envelopes.bare import Bare
from relay.envelopes.cloudevents import CloudEvents
from relay.envelopes.eventbridge import EventBridge
from relay.envelopes.eventgrid import EventGrid
from relay.envelopes.mns import Mns
from relay.envelopes.oci import Oci
from relay.envelopes.pubsub import PubSub
from relay.envelopes.signed import Signed
from relay.envelopes.smn import Smn
from relay.envelopes.sns import Sns

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
