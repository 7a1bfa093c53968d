"""MNS: pushes of Alibaba Cloud MNS (now SMQ) to an HTTP endpoint.

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
from relay.sources.envelope import Envelope, Fetch, refuse_fetch
from relay.sources.envelopes.certificates import (
    Certificate,
    CertificateCache,
    check_age,
    decode_signature,
    unverified,
)
from relay.sources.envelopes.flat_xml import read_children
from relay.sources.envelopes.pinned_urls import parse_url
from relay.sources.envelopes.token import check_token
from relay.sources.envelopes.unwrap import (
    Record,
    decode_json,
    decode_json_text,
    unreadable,
    unwrap_records,
)

HOSTS = ("mnstest.oss-cn-hangzhou.aliyuncs.com", "mns-cert.oss-cn-*.aliyuncs.com")
"""The hosts of MNS's certificates; * is a region. Bucket names are unique across regions."""

RETRY_PERIOD = timedelta(days=1)
"""How long MNS retries a message. Each push is signed again, with the date of the push."""

_CERTIFICATE = re.compile(r"/[\w.-]+\.pem", re.ASCII)
_PREFIX = "x-mns-"


class Mns(Envelope):
    """Messages of the MNS topics that a source lists, in any of the three formats of MNS.

    The token is required too if a message names no topic (an old SIMPLIFIED format), or if the
    certificate is weak or expired. The certificate at the first of HOSTS expired in 2016 and has a
    512-bit key, which can be broken within hours; MNS still signed with it in 2023.
    """

    name = "mns"

    def __init__(self, settings: SourceSettings, fetch: Fetch = refuse_fetch) -> None:
        super().__init__(settings, fetch)
        self._certificates = CertificateCache(fetch)

    def missing_setting(self) -> str | None:
        return None if self.settings.mns_topics else "mns_topics"

    def recognises(self, incoming: Incoming) -> bool:
        has_header = any(name.startswith(_PREFIX) for name in incoming.headers)
        return incoming.method == "POST" and has_header

    def verify(self, incoming: Incoming) -> None:
        """Check topic, times, body digest and URL; then the certificate and the signature."""
        topic = _topic(incoming)
        if topic is not None and topic not in self.settings.mns_topics:
            raise unverified(
                "is of a topic that this source does not list",
                "If the topic is yours, add owner/topic to mns_topics.",
            )
        if topic is None:
            self._require_token(incoming, "names no topic")
        self._check_times(incoming)
        # The signature covers the body only through this digest.
        if not _is_digest(incoming.headers.get("content-md5", ""), incoming.body):
            raise unverified("has a body that does not match Content-MD5")
        url = _certificate_url(incoming.headers)
        signature = decode_signature(incoming.headers.get("authorization", ""))
        certificate = self._certificates.get(url, incoming.received)
        self._check_certificate(certificate, incoming)
        digest = SHA1()  # noqa: S303 - defined by MNS
        texts = signed_texts(incoming)
        if not any(certificate.verifies(signature, text, digest) for text in texts):
            raise unverified(
                "has a wrong signature",
                "It was changed in transit, or it is forged. The path and query are signed too.",
            )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the records in the message, which OSS encodes in base64."""
        message = _fields(incoming.body).get("Message")
        if message is None:
            try:
                message = incoming.body.decode()
            except UnicodeDecodeError as error:
                raise unreadable("it is not UTF-8", "不是 UTF-8") from error
        return unwrap_records(decode_json_text(message))

    def _check_times(self, incoming: Incoming) -> None:
        headers, max_age = incoming.headers, self.settings.max_age
        pushed = _parse_date(headers.get("date") or headers.get("x-mns-date", ""))
        check_age(pushed, incoming.received, max_age)
        published = headers.get("x-mns-publish-time") or _fields(incoming.body).get("PublishTime")
        if published is not None:
            check_age(_from_milliseconds(published), incoming.received, max_age + RETRY_PERIOD)

    def _check_certificate(self, certificate: Certificate, incoming: Incoming) -> None:
        if not certificate.is_strong:
            self._require_token(incoming, "is signed with a key that is too short")
        elif not certificate.is_valid(incoming.received):
            self._require_token(incoming, "is signed with a certificate that is not valid now")

    def _require_token(self, incoming: Incoming, problem: str) -> None:
        if not self.settings.token:
            raise unverified(
                f"{problem}, and the source has no token",
                "Set a token, and add ?token=TOKEN to the URL of the subscription.",
            )
        check_token(self.settings, incoming)


def _topic(incoming: Incoming) -> str | None:
    """The topic as owner/name; None when the message does not name it.

    Headers come from MNS. If the message id is in a header, the body is the published text alone,
    which can imitate a message of another topic; it is not read then.
    """
    headers = incoming.headers
    if "x-mns-topic-name" in headers:
        return f"{headers.get('x-mns-topic-owner', '')}/{headers['x-mns-topic-name']}"
    if "x-mns-message-id" in headers:
        return None
    fields = _fields(incoming.body)
    owner, name = fields.get("TopicOwner"), fields.get("TopicName")
    return f"{owner}/{name}" if isinstance(owner, str) and isinstance(name, str) else None


def _fields(body: bytes) -> Mapping[str, Any]:
    """The fields of the XML and JSON formats; empty when the body is the message alone."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return read_children(body, "Notification")
    try:
        fields = decode_json(body)
    except Unreadable:
        return {}
    is_wrapped = isinstance(fields, dict) and {"TopicName", "Message"} <= fields.keys()
    return fields if is_wrapped else {}


def _certificate_url(headers: Mapping[str, str]) -> str:
    try:
        url = base64.b64decode(headers.get("x-mns-signing-cert-url", ""), validate=True).decode()
    except (binascii.Error, ValueError):
        raise unverified("names no certificate", "Its URL should be in base64.") from None
    parts = parse_url(url)
    if (
        not parts
        or not parts.has_host(HOSTS)
        or parts.query is not None
        or not _CERTIFICATE.fullmatch(parts.path)
    ):
        raise unverified("names a certificate outside MNS")
    return url


def _is_digest(text: str, body: bytes) -> bool:
    """Whether the text is the MD5 digest of the body, in any of three encodings.

    Pushes of 2023 and 2024 have hexadecimal, RFC 1864 says base64, and the developer reference
    says base64 of hexadecimal.
    """
    md5 = hashlib.md5(body, usedforsecurity=False)
    encoded = (md5.digest(), md5.hexdigest().encode())
    digests = [md5.hexdigest(), *(base64.b64encode(digest).decode() for digest in encoded)]
    given = text.lower() if len(text) == 32 and "=" not in text else text
    return any(hmac.compare_digest(given.encode(), digest.encode()) for digest in digests)


def signed_texts(incoming: Incoming) -> Iterator[bytes]:
    """Yield the texts that the signature may belong to.

    Readings of the reference differ about the content type, samples of the SDKs about the query.
    Each variant covers all fields that Relay uses.
    """
    headers = incoming.headers
    own_headers = sorted(item for item in headers.items() if item[0].startswith(_PREFIX))
    canonical = "".join(f"{name}:{value}\n" for name, value in own_headers)
    date = headers.get("date") or headers.get("x-mns-date", "")
    media_type = headers.get("content-type", "")
    query = f"?{incoming.raw_query}" if incoming.raw_query else ""
    for head in dict.fromkeys((f"{media_type}\n{date}", f"{media_type.lower()}\n{date}", date)):
        for target in dict.fromkeys((f"{incoming.path}{query}", incoming.path)):
            text = f"{incoming.method}\n{headers.get('content-md5', '')}\n{head}\n"
            # WSGI decodes headers as Latin-1.
            yield f"{text}{canonical}{target}".encode("latin-1", "replace")


def _parse_date(text: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _from_milliseconds(value: object) -> datetime | None:
    """The time of a number of milliseconds since 1970, which may be text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**14:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)
