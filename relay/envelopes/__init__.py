"""The wrappings that notifications travel in, one file each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from relay.envelope import Envelope
from relay.envelopes.bare import Bare

_KNOWN: Iterable[type[Envelope]] = (Bare,)

ENVELOPES: Mapping[str, type[Envelope]] = MappingProxyType({one.name: one for one in _KNOWN})
"""By name. Ask them in this order: bare recognises everything and comes last."""
