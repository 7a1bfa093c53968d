"""Huawei Cloud SMN's messages to an HTTP(S) endpoint.

Wire format: SMN user guide, "HTTP/HTTPS Message Format" and "Message Signature Verification".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm

from relay.model import Incoming
from relay.sources.envelopes import pinned_urls as pinned
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.signed_topic import (
    NOTIFICATION,
    SUBSCRIBED,
    UNSUBSCRIBED,
    Form,
    Said,
    TopicEnvelope,
)
from relay.sources.envelopes.token import check

_HANDSHAKE = ("message", "message_id", "subscribe_url", "timestamp", "topic_urn", "type")
_CONFIRM = re.compile(r"/smn/subscription/confirm[\w/-]*", re.ASCII)
_HINT = "If it is right, add its host to {} of the source."


class Smn(TopicEnvelope):
    """Messages of the SMN topics that a source names.

    The certificate's address is not signed: only its pin keeps a forger from naming his own.
    """

    name = "smn"
    topics_key = "smn_topic_urns"
    form = Form(
        header="x-smn-message-type",
        type="type",
        topic="topic_urn",
        time="timestamp",
        signature="signature",
        signed={
            NOTIFICATION: ("message", "message_id", "subject", "timestamp", "topic_urn", "type"),
            SUBSCRIBED: _HANDSHAKE,
            UNSUBSCRIBED: _HANDSHAKE,
        },
        optional="subject",
    )

    def certificate_url(self, said: Said) -> str:
        """Host and path name the region of the topic."""
        address = pinned.read(url := said.get("signing_cert_url"))
        region = _region(said["topic_urn"])
        hosts = [one.replace("*", region) for one in self.settings.smn_hosts]
        path = rf"/smn/SMN_{re.escape(region)}_[0-9a-fA-F]{{16,128}}\.pem"
        if not address or address.host not in hosts or address.query is not None:
            raise unverified("names a certificate of another host", _HINT.format("smn_hosts"))
        if not re.fullmatch(path, address.path):
            raise unverified("names a certificate that is not one of SMN")
        return str(url)

    def confirmation(self, said: Said) -> str:
        address = pinned.read(url := said["subscribe_url"])
        hosts = self.settings.smn_confirm_hosts
        if not address or not address.is_at(hosts) or not _CONFIRM.fullmatch(address.path):
            raise unverified(
                "wants to be confirmed at an address that is not SMN's own",
                _HINT.format("smn_confirm_hosts"),
            )
        if address.asks("topic_urn") != said["topic_urn"]:
            raise unverified("wants a subscription to another topic to be confirmed")
        return str(url)

    def digest(self, said: Said) -> HashAlgorithm:
        """SHA-256 alone. Huawei's sample for Java takes the digest that the certificate itself is
        signed with, which is the same one in all that were seen, and not the sender's to choose."""
        if said.get("signature_version", "v1") not in ("v1", "V1"):
            raise unverified("has a signature of a version that is not known")
        return SHA256()

    def texts(self, said: Said) -> Iterable[bytes]:
        """An empty subject is not signed, says the guide; Huawei's samples sign it."""
        if said.get("subject") == "":
            yield self.text(said, ("subject",))
        yield from super().texts(said)

    def check_more(self, incoming: Incoming) -> None:
        """SMN can send a header of the subscriber's choice: where one is set, it must be there."""
        if self.settings.token and self.settings.token_header:
            check(self.settings, incoming)


def _region(urn: str) -> str:
    """The region in urn:smn:REGION:PROJECT:TOPIC; "" when there is none."""
    parts = urn.split(":")
    return parts[2] if len(parts) == 5 and pinned.is_region(parts[2]) else ""
