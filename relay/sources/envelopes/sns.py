"""Amazon SNS's messages to an HTTP(S) endpoint.

Wire format: Amazon SNS developer guide, "Parsing message formats" and "Verifying the signatures of
Amazon SNS messages".
"""

from __future__ import annotations

import re

from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

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

_HANDSHAKE = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_DIGESTS: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - SNS's own rule
_CERTIFICATE = re.compile(r"/[\w-]+\.pem", re.ASCII)
_HINT = "If it is right, add its host to sns_hosts of the source."


class Sns(TopicEnvelope):
    """Messages of the SNS topics that a source names.

    What is delivered raw is not signed: that is bare, and needs the token.
    """

    name = "sns"
    topics_key = "sns_topic_arns"
    form = Form(
        header="x-amz-sns-message-type",
        type="Type",
        topic="TopicArn",
        time="Timestamp",
        signature="Signature",
        signed={
            NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
            SUBSCRIBED: _HANDSHAKE,
            UNSUBSCRIBED: _HANDSHAKE,
        },
        optional="Subject",
    )

    def recognises(self, incoming: Incoming) -> bool:
        """The handshakes of a subscription are wrapped even when its messages come raw."""
        raw = incoming.headers.get("x-amz-sns-rawdelivery", "").strip().lower() == "true"
        handshake = incoming.headers.get(self.form.header) in (SUBSCRIBED, UNSUBSCRIBED)
        return super().recognises(incoming) and (handshake or not raw)

    def certificate_url(self, said: Said) -> str:
        address = pinned.read(url := said.get("SigningCertURL"))
        fits = address and address.is_at(self.settings.sns_hosts) and address.query is None
        if not address or not fits or not _CERTIFICATE.fullmatch(address.path):
            raise unverified("names a certificate that is not one of SNS", _HINT)
        return str(url)

    def confirmation(self, said: Said) -> str:
        address = pinned.read(url := said["SubscribeURL"])
        if (
            not address
            or not address.is_at(self.settings.sns_hosts)
            or address.asks("Action") != "ConfirmSubscription"
            or address.asks("TopicArn") != said["TopicArn"]
        ):
            raise unverified("wants to be confirmed at an address that is not SNS's own", _HINT)
        return str(url)

    def digest(self, said: Said) -> HashAlgorithm:
        version = said.get("SignatureVersion")
        if not isinstance(version, str) or version not in _DIGESTS:
            raise unverified("has a signature of a version that is not known")
        return _DIGESTS[version]
