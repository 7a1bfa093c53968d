"""SNS: Amazon SNS's messages to an HTTP(S) endpoint.

Wire format: Amazon SNS developer guide, "Parsing message formats" and "Verifying the signatures of
Amazon SNS messages".
"""

from __future__ import annotations

import re

from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from relay.model import Incoming
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.pinned_urls import parse_url
from relay.sources.envelopes.signed_topic import (
    NOTIFICATION,
    SUBSCRIBED,
    UNSUBSCRIBED,
    TopicEnvelope,
    TopicFormat,
    TopicMessage,
)

_HANDSHAKE = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_DIGESTS: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - defined by SNS
_CERTIFICATE = re.compile(r"/[\w-]+\.pem", re.ASCII)
_HINT = "If the URL is right, add its host to sns_hosts of the source."


class Sns(TopicEnvelope):
    """Messages of the SNS topics that a source lists.

    Raw deliveries are not signed; the envelope `bare` accepts them with the token.
    """

    name = "sns"
    secret_fields = ("Token", "SubscribeURL", "UnsubscribeURL")
    topics_key = "sns_topic_arns"
    format = TopicFormat(
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
        """Match handshakes of raw subscriptions too: only their notifications are raw."""
        is_raw = incoming.headers.get("x-amz-sns-rawdelivery", "").strip().lower() == "true"
        message_type = incoming.headers.get(self.format.header)
        is_handshake = message_type in (SUBSCRIBED, UNSUBSCRIBED)
        return super().recognises(incoming) and (is_handshake or not is_raw)

    def certificate_url(self, message: TopicMessage) -> str:
        parts = parse_url(url := message.get("SigningCertURL"))
        if (
            not parts
            or not parts.has_host(self.settings.sns_hosts)
            or parts.query is not None
            or not _CERTIFICATE.fullmatch(parts.path)
        ):
            raise unverified("names a certificate outside SNS", _HINT)
        return str(url)

    def confirmation_url(self, message: TopicMessage) -> str:
        parts = parse_url(url := message["SubscribeURL"])
        if (
            not parts
            or not parts.has_host(self.settings.sns_hosts)
            or parts.query_value("Action") != "ConfirmSubscription"
            or parts.query_value("TopicArn") != message["TopicArn"]
        ):
            raise unverified("asks for confirmation at a URL outside SNS", _HINT)
        return str(url)

    def digest(self, message: TopicMessage) -> HashAlgorithm:
        version = message.get("SignatureVersion")
        if not isinstance(version, str) or version not in _DIGESTS:
            raise unverified("has a signature of an unknown version")
        return _DIGESTS[version]
