"""TopicEnvelope: messages of a topic as SNS and SMN send them: signed JSON, with handshakes.

A signature proves the service, not the sender: anybody may own a topic there. So whose topic it is,
how old the message is and where its addresses lead is known before anything is fetched.
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
from relay.sources.envelope import Envelope, Fetch, HandshakeReply, fetch_nothing
from relay.sources.envelopes import pinned_urls as pinned
from relay.sources.envelopes.certificates import Certificates, check_age, decoded, unverified
from relay.sources.envelopes.unwrap import Record, decode, records
from relay.sources.fields import time_or_none

SUBSCRIBED = "SubscriptionConfirmation"
UNSUBSCRIBED = "UnsubscribeConfirmation"
NOTIFICATION = "Notification"

Said = Mapping[str, Any]
"""A message before anybody vouches for it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a service names the parts of a message. `signed`: for each type, in the order in which
    they are signed; those in `optional` only when they are there."""

    header: str
    type: str
    topic: str
    time: str
    signature: str
    signed: Mapping[str, Sequence[str]]
    optional: str


class TopicEnvelope(Envelope):
    """Notifications of the topics that a source names."""

    form: ClassVar[Form]
    topics_key: ClassVar[str]

    def __init__(self, settings: SourceSettings, fetch: Fetch = fetch_nothing) -> None:
        super().__init__(settings, fetch)
        self._certificates = Certificates(fetch)

    def missing_setting(self) -> str | None:
        return None if self.topics else self.topics_key

    @property
    def topics(self) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self.settings, self.topics_key)
        return found

    def recognises(self, incoming: Incoming) -> bool:
        form = self.form
        if incoming.method != "POST":
            return False
        names = (form.type, form.topic, form.signature)
        if form.header in incoming.headers:
            return True
        if not all(f'"{name}"'.encode() in incoming.body for name in names):
            return False
        said = _read(incoming.body)
        return said is not None and all(name in said for name in names)

    def verify(self, incoming: Incoming) -> None:
        """The topic, the age and all addresses first; then the certificate, then the signature."""
        said = self._said(incoming)
        kind, topic = said[self.form.type], said[self.form.topic]
        if topic not in self.topics:
            raise unverified(
                "is of a topic that this source does not name",
                f"If the topic is yours, add it to {self.topics_key}.",
            )
        check_age(time_or_none(said, self.form.time), incoming.received, self.settings.max_age)
        url = self.certificate_url(said)
        digest = self.digest(said)
        signature = decoded(said[self.form.signature])
        if kind == SUBSCRIBED:
            self.confirmation(said)
        self.check_more(incoming)
        certificate = self._certificates.get(url, incoming.received)
        if not certificate.is_valid(incoming.received) or not certificate.is_strong:
            raise unverified("is signed with a certificate that has expired or is too weak")
        if not any(certificate.signed(signature, text, digest) for text in self.texts(said)):
            raise unverified("has a wrong signature", "It was changed on its way, or is forged.")

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """200 to both handshakes. The address that confirms a subscription is visited first; that
        in the news of an end never is: it would subscribe again."""
        said = self._said(incoming)
        kind = said[self.form.type]
        if kind == SUBSCRIBED:
            pinned.confirm(self.fetch, self.confirmation(said), said[self.form.topic])
        return None if kind == NOTIFICATION else HandshakeReply()

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The records in the message."""
        return records(decode(incoming.body))

    def texts(self, said: Said) -> Iterable[bytes]:
        """What may have been signed: `name\\nvalue\\n` of each part."""
        absent = () if said.get(self.form.optional) is not None else (self.form.optional,)
        yield self.text(said, absent)

    def text(self, said: Said, absent: Sequence[str]) -> bytes:
        names = self.form.signed[said[self.form.type]]
        lines = (f"{name}\n{said[name]}\n" for name in names if name not in absent)
        return "".join(lines).encode("utf-8", "surrogatepass")

    @abstractmethod
    def certificate_url(self, said: Said) -> str:
        """Where the certificate is; Unverified when that is not where it should be."""

    @abstractmethod
    def confirmation(self, said: Said) -> str:
        """The address that confirms the subscription; Unverified when it leads elsewhere."""

    @abstractmethod
    def digest(self, said: Said) -> HashAlgorithm:
        """What the signature's version stands for; Unverified when it is not known."""

    def check_more(self, incoming: Incoming) -> None:
        """Whatever else a sender must show; Unverified when it does not."""

    def _said(self, incoming: Incoming) -> Said:
        """The message, when it is of a known type and all its parts are texts."""
        said = _read(incoming.body)
        if said is None:
            raise unverified("is not an object of JSON")
        kind = said.get(self.form.type)
        if not isinstance(kind, str) or kind not in self.form.signed:
            raise unverified("is of a type that its service does not have")
        needed = {*self.form.signed[kind], self.form.signature} - {self.form.optional}
        optional = said.get(self.form.optional)
        texts = all(isinstance(said.get(name), str) for name in needed)
        if not texts or not isinstance(optional, str | None):
            raise unverified("lacks what its service signs, or the signature")
        return said


def _read(body: bytes) -> Said | None:
    try:
        found = decode(body)
    except Unreadable:
        return None
    return found if isinstance(found, dict) else None
