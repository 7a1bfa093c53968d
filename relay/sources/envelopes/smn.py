"""SMN: Huawei Cloud SMN's messages to an HTTP(S) endpoint.

Wire format: SMN user guide, "HTTP/HTTPS Message Format" and "Message Signature Verification".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm

from relay.model import Incoming
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.pinned_urls import is_region, parse_url
from relay.sources.envelopes.signed_topic import (
    NOTIFICATION,
    SUBSCRIBED,
    UNSUBSCRIBED,
    TopicEnvelope,
    TopicFormat,
    TopicMessage,
)
from relay.sources.envelopes.token import check_token

_HANDSHAKE = ("message", "message_id", "subscribe_url", "timestamp", "topic_urn", "type")
_CONFIRM = re.compile(r"/smn/subscription/confirm[\w/-]*", re.ASCII)
_HINT = "If the URL is right, add its host to {} of the source."


class Smn(TopicEnvelope):
    """Messages of the SMN topics that a source lists.

    The URL of the certificate is not signed: only the check of host and path prevents forgery.
    """

    name = "smn"
    secret_fields = ("subscribe_url", "unsubscribe_url")
    topics_key = "smn_topic_urns"
    format = TopicFormat(
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

    def certificate_url(self, message: TopicMessage) -> str:
        """The URL of the certificate; host and path name the region of the topic."""
        parts = parse_url(url := message.get("signing_cert_url"))
        region = _region(message["topic_urn"])
        hosts = [host.replace("*", region) for host in self.settings.smn_hosts]
        path = rf"/smn/SMN_{re.escape(region)}_[0-9a-fA-F]{{16,128}}\.pem"
        if not parts or parts.host not in hosts or parts.query is not None:
            raise unverified("names a certificate of another host", _HINT.format("smn_hosts"))
        if not re.fullmatch(path, parts.path):
            raise unverified("names a certificate outside SMN")
        return str(url)

    def confirmation_url(self, message: TopicMessage) -> str:
        parts = parse_url(url := message["subscribe_url"])
        hosts = self.settings.smn_confirm_hosts
        if not parts or not parts.has_host(hosts) or not _CONFIRM.fullmatch(parts.path):
            raise unverified(
                "asks for confirmation at a URL outside SMN",
                _HINT.format("smn_confirm_hosts"),
            )
        if parts.query_value("topic_urn") != message["topic_urn"]:
            raise unverified("asks for the confirmation of another topic's subscription")
        return str(url)

    def digest(self, message: TopicMessage) -> HashAlgorithm:
        """Always SHA-256.

        Huawei's Java sample uses the digest in the certificate's own signature. That digest is
        SHA-256 in all known certificates, and the sender must not be able to choose it.
        """
        if message.get("signature_version", "v1") not in ("v1", "V1"):
            raise unverified("has a signature of an unknown version")
        return SHA256()

    def signed_texts(self, message: TopicMessage) -> Iterable[bytes]:
        """Try an empty subject both ways: the guide does not sign it, Huawei's samples do."""
        if message.get("subject") == "":
            yield self.signed_text(message, ("subject",))
        yield from super().signed_texts(message)

    def check_more(self, incoming: Incoming) -> None:
        """Require the token if it is configured as a header that SMN sends with each message."""
        if self.settings.token and self.settings.token_header:
            check_token(self.settings, incoming)


def _region(urn: str) -> str:
    """The region in urn:smn:REGION:PROJECT:TOPIC; "" if the URN has none."""
    parts = urn.split(":")
    return parts[2] if len(parts) == 5 and is_region(parts[2]) else ""
