"""TopicEnvelope: base of SNS and SMN, which send signed JSON messages of a topic.

A signature proves the service, not the sender: anyone can own a topic there. So the topic, the age
of the message and all URLs in it are checked before anything is fetched.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cryptography.hazmat.primitives.hashes import HashAlgorithm

from relay.config.load import SourceSettings
from relay.errors import Unreadable
from relay.model import Incoming
from relay.sources.envelope import Envelope, Fetch, HandshakeReply, refuse_fetch
from relay.sources.envelopes.certificates import (
    CertificateCache,
    check_age,
    decode_signature,
    unverified,
)
from relay.sources.envelopes.pinned_urls import confirm_subscription
from relay.sources.envelopes.unwrap import Record, decode_json, unwrap_records
from relay.sources.fields import time_or_none

SUBSCRIBED = "SubscriptionConfirmation"
UNSUBSCRIBED = "UnsubscribeConfirmation"
NOTIFICATION = "Notification"

TopicMessage = Mapping[str, Any]
"""A message that is not verified yet."""


@dataclass(frozen=True, slots=True)
class TopicFormat:
    """The field names of a service's messages.

    `signed`: for each message type, the signed fields in order. The field `optional` is signed
    only if it is present.
    """

    header: str
    type: str
    topic: str
    time: str
    signature: str
    signed: Mapping[str, Sequence[str]]
    optional: str


class TopicEnvelope(Envelope):
    """Messages of the topics that a source lists."""

    format: ClassVar[TopicFormat]
    topics_key: ClassVar[str]

    def __init__(self, settings: SourceSettings, fetch: Fetch = refuse_fetch) -> None:
        super().__init__(settings, fetch)
        self._certificates = CertificateCache(fetch)

    def missing_setting(self) -> str | None:
        return None if self.topics else self.topics_key

    @property
    def topics(self) -> tuple[str, ...]:
        topics: tuple[str, ...] = getattr(self.settings, self.topics_key)
        return topics

    def recognises(self, incoming: Incoming) -> bool:
        if incoming.method != "POST":
            return False
        if self.format.header in incoming.headers:
            return True
        names = (self.format.type, self.format.topic, self.format.signature)
        if not all(f'"{name}"'.encode() in incoming.body for name in names):
            return False
        message = _read(incoming.body)
        return message is not None and all(name in message for name in names)

    def verify(self, incoming: Incoming) -> None:
        """Check topic, age and URLs; then fetch the certificate and verify the signature."""
        message = self._message(incoming)
        if message[self.format.topic] not in self.topics:
            raise unverified(
                "is of a topic that this source does not list",
                f"If the topic is yours, add it to {self.topics_key}.",
            )
        sent = time_or_none(message, self.format.time)
        check_age(sent, incoming.received, self.settings.max_age)
        url = self.certificate_url(message)
        digest = self.digest(message)
        signature = decode_signature(message[self.format.signature])
        if message[self.format.type] == SUBSCRIBED:
            self.confirmation_url(message)
        self.check_more(incoming)
        certificate = self._certificates.get(url, incoming.received)
        if not certificate.is_valid(incoming.received) or not certificate.is_strong:
            raise unverified("is signed with a certificate that has expired or is too weak")
        texts = self.signed_texts(message)
        if not any(certificate.verifies(signature, text, digest) for text in texts):
            raise unverified("has a wrong signature", "It was changed in transit, or it is forged.")

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """Return 200 to both handshakes, after visiting the URL that confirms a subscription.

        The URL in an UnsubscribeConfirmation is never visited: it would subscribe again.
        """
        message = self._message(incoming)
        kind = message[self.format.type]
        if kind == SUBSCRIBED:
            topic = message[self.format.topic]
            confirm_subscription(self.fetch, self.confirmation_url(message), topic)
        return None if kind == NOTIFICATION else HandshakeReply()

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the records in the message."""
        return unwrap_records(decode_json(incoming.body))

    def signed_texts(self, message: TopicMessage) -> Iterable[bytes]:
        """The texts that the signature may belong to."""
        optional = self.format.optional
        yield self.signed_text(message, () if message.get(optional) is not None else (optional,))

    def signed_text(self, message: TopicMessage, absent: Sequence[str]) -> bytes:
        """The lines `name\\nvalue\\n` of the signed fields, without those in `absent`."""
        names = self.format.signed[message[self.format.type]]
        lines = (f"{name}\n{message[name]}\n" for name in names if name not in absent)
        return "".join(lines).encode("utf-8", "surrogatepass")

    @abstractmethod
    def certificate_url(self, message: TopicMessage) -> str:
        """The URL of the certificate; Unverified when it is outside the service."""

    @abstractmethod
    def confirmation_url(self, message: TopicMessage) -> str:
        """The URL that confirms the subscription; Unverified when it is outside the service."""

    @abstractmethod
    def digest(self, message: TopicMessage) -> HashAlgorithm:
        """The digest of the signature's version; Unverified for an unknown version."""

    def check_more(self, incoming: Incoming) -> None:
        """Check more requirements of the service; Unverified when they are not met."""

    def _message(self, incoming: Incoming) -> TopicMessage:
        """The message, if the type is known and all signed fields are text."""
        message = _read(incoming.body)
        if message is None:
            raise unverified("is not a JSON object")
        kind = message.get(self.format.type)
        if not isinstance(kind, str) or kind not in self.format.signed:
            raise unverified("is of an unknown type")
        required = {*self.format.signed[kind], self.format.signature} - {self.format.optional}
        has_required = all(isinstance(message.get(name), str) for name in required)
        if not has_required or not isinstance(message.get(self.format.optional), str | None):
            raise unverified("lacks a signed field, or the signature")
        return message


def _read(body: bytes) -> TopicMessage | None:
    try:
        message = decode_json(body)
    except Unreadable:
        return None
    return message if isinstance(message, dict) else None
