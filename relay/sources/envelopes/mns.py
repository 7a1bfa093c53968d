"""Alibaba Cloud MNS's (now SMQ's) pushes to an HTTP endpoint.

Wire format: SMQ developer reference, "HttpEndpoint", "NotifyContentFormat" and "Verify HTTP push
message signatures"; checked against a push of 2023.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1

from relay.config.load import SourceSettings
from relay.errors import Unreadable
from relay.model import Incoming
from relay.sources.envelope import Envelope, Fetch, fetch_nothing
from relay.sources.envelopes import pinned_urls as pinned
from relay.sources.envelopes.certificates import (
    Certificate,
    Certificates,
    check_age,
    decoded,
    unverified,
)
from relay.sources.envelopes.flat_xml import read_children
from relay.sources.envelopes.token import check
from relay.sources.envelopes.unwrap import Record, decode, decode_text, records, unreadable

HOSTS = ("mnstest.oss-cn-hangzhou.aliyuncs.com", "mns-cert.oss-cn-*.aliyuncs.com")
"""Where MNS keeps its certificates; * is a region. Names of buckets are unique over all regions."""

RETRIES = timedelta(days=1)
"""How long MNS tries to push a message. Each push is signed anew, with the date of the push."""

_CERTIFICATE = re.compile(r"/[\w.-]+\.pem", re.ASCII)
_PREFIX = "x-mns-"


class Mns(Envelope):
    """Messages of the MNS topics that a source names, in any of MNS's three formats.

    The token is needed as well when a message names no topic, as in the SIMPLIFIED format of old,
    and when its certificate proves too little: that at the first of HOSTS ended in 2016, its key
    of 512 bits can be broken in hours, and MNS signed with it in 2023 still.
    """

    name = "mns"

    def __init__(self, settings: SourceSettings, fetch: Fetch = fetch_nothing) -> None:
        super().__init__(settings, fetch)
        self._certificates = Certificates(fetch)

    def missing_setting(self) -> str | None:
        return None if self.settings.mns_topics else "mns_topics"

    def recognises(self, incoming: Incoming) -> bool:
        named = any(name.startswith(_PREFIX) for name in incoming.headers)
        return incoming.method == "POST" and named

    def verify(self, incoming: Incoming) -> None:
        """Topic, times, digest of the body and address first; then certificate and signature."""
        topic = _topic(incoming)
        if topic is not None and topic not in self.settings.mns_topics:
            raise unverified(
                "is of a topic that this source does not name",
                "If the topic is yours, add owner/topic to mns_topics.",
            )
        if topic is None:
            self._check_token(incoming, "names no topic")
        self._check_times(incoming)
        # Nothing else ties the signature to the body.
        if not _is_digest(incoming.headers.get("content-md5", ""), incoming.body):
            raise unverified("has another body than Content-MD5 says")
        url = _certificate_url(incoming.headers)
        signature = decoded(incoming.headers.get("authorization", ""))
        certificate = self._certificates.get(url, incoming.received)
        self._check_certificate(certificate, incoming)
        if not any(certificate.signed(signature, text, SHA1()) for text in signed_texts(incoming)):  # noqa: S303 - MNS's own rule
            raise unverified(
                "has a wrong signature",
                "It was changed on its way, or is forged; its path and query are signed too.",
            )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The records in the message, which OSS puts there in base64."""
        message = _fields(incoming.body).get("Message")
        if message is None:
            try:
                message = incoming.body.decode()
            except UnicodeDecodeError as error:
                raise unreadable("it is not UTF-8", "不是 UTF-8") from error
        return records(decode_text(message))

    def _check_times(self, incoming: Incoming) -> None:
        headers = incoming.headers
        pushed = _date(headers.get("date") or headers.get("x-mns-date", ""))
        check_age(pushed, incoming.received, self.settings.max_age)
        said = headers.get("x-mns-publish-time") or _fields(incoming.body).get("PublishTime")
        if said is not None:
            most = self.settings.max_age + RETRIES
            check_age(_milliseconds(said), incoming.received, most)

    def _check_certificate(self, certificate: Certificate, incoming: Incoming) -> None:
        if not certificate.is_strong:
            self._check_token(incoming, "is signed with a key that others can break")
        elif not certificate.is_valid(incoming.received):
            self._check_token(incoming, "is signed with a certificate that is not valid now")

    def _check_token(self, incoming: Incoming, why: str) -> None:
        if not self.settings.token:
            raise unverified(
                f"{why}, and the source has no token",
                "Set a token, and end the subscription's address in ?token=TOKEN.",
            )
        check(self.settings, incoming)


def _topic(incoming: Incoming) -> str | None:
    """The topic as owner/name; None when the message does not tell.

    Headers are MNS's own. The body is not when MNS says the message's id in a header: then it is
    whatever somebody published, and may look like a message of another topic.
    """
    headers = incoming.headers
    if "x-mns-topic-name" in headers:
        return f"{headers.get('x-mns-topic-owner', '')}/{headers['x-mns-topic-name']}"
    if "x-mns-message-id" in headers:
        return None
    said = _fields(incoming.body)
    owner, name = said.get("TopicOwner"), said.get("TopicName")
    return f"{owner}/{name}" if isinstance(owner, str) and isinstance(name, str) else None


def _fields(body: bytes) -> Mapping[str, Any]:
    """What the XML and JSON formats say; nothing when the body is a message alone."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return read_children(body, "Notification")
    try:
        found = decode(body)
    except Unreadable:
        return {}
    return found if isinstance(found, dict) and {"TopicName", "Message"} <= found.keys() else {}


def _certificate_url(headers: Mapping[str, str]) -> str:
    try:
        url = base64.b64decode(headers.get("x-mns-signing-cert-url", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        raise unverified("names no certificate", "Its address should be in base64.") from None
    address = pinned.read(url)
    if (
        not address
        or not address.is_at(HOSTS)
        or address.query is not None
        or not _CERTIFICATE.fullmatch(address.path)
    ):
        raise unverified("names a certificate that is not one of MNS")
    return url


def _is_digest(said: str, body: bytes) -> bool:
    """Whether it is the body's MD5, in hexadecimal, in base64, or in base64 of hexadecimal: pushes
    of 2023 and 2024 have the first, RFC 1864 says the second, the developer reference the third."""
    digest = hashlib.md5(body, usedforsecurity=False)
    encoded = (digest.digest(), digest.hexdigest().encode())
    known = [digest.hexdigest(), *(base64.b64encode(one).decode() for one in encoded)]
    given = said.lower() if len(said) == 32 and "=" not in said else said
    return any(hmac.compare_digest(given.encode(), one.encode()) for one in known)


def signed_texts(incoming: Incoming) -> Iterator[bytes]:
    """What may have been signed: the reference has been read with and without the content type,
    and the samples of the SDKs with and without the query. Each of them ties all that we use."""
    headers = incoming.headers
    ours = sorted((name, value) for name, value in headers.items() if name.startswith(_PREFIX))
    canonical = "".join(f"{name}:{value}\n" for name, value in ours)
    date = headers.get("date") or headers.get("x-mns-date", "")
    media = headers.get("content-type", "")
    query = f"?{incoming.raw_query}" if incoming.raw_query else ""
    for head in dict.fromkeys((f"{media}\n{date}", f"{media.lower()}\n{date}", date)):
        for target in dict.fromkeys((f"{incoming.path}{query}", incoming.path)):
            text = f"{incoming.method}\n{headers.get('content-md5', '')}\n{head}\n"
            # WSGI reads the bytes of headers as Latin-1.
            yield f"{text}{canonical}{target}".encode("latin-1", "replace")


def _date(text: str) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _milliseconds(said: object) -> datetime | None:
    """A time in milliseconds since 1970, as a number or as digits."""
    if isinstance(said, str) and re.fullmatch(r"[0-9]{1,16}", said):
        said = int(said)
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said < 10**14:
        return None
    return datetime.fromtimestamp(said / 1000, UTC)
