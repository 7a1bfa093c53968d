"""Certificates that senders sign with: fetched from pinned URLs and cached for all threads."""

from __future__ import annotations

import base64
import binascii
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from relay.errors import RelayError, TemporaryFailure, Unverified
from relay.model import Localized
from relay.sources.envelope import Fetch

log = logging.getLogger(__name__)

MAX_AGE = timedelta(days=1)
"""How long a fetched certificate is used before it is fetched again."""

RECHECK_AFTER = timedelta(minutes=1)
"""When to fetch again if the certificate is not valid now, or the last fetch failed."""

RETRY_AFTER = timedelta(seconds=10)
"""When to fetch again after a failure without a cached certificate. Senders retry meanwhile."""

MIN_KEY_BITS = 2048
"""The shortest RSA key that is trusted (NIST SP 800-131A)."""

MAX_CACHED = 32
"""URLs in the cache; a sender has a certificate for each region."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The public key of an X.509 certificate, with the time of validity."""

    key: RSAPublicKey
    begins: datetime
    ends: datetime

    def is_valid(self, now: datetime) -> bool:
        return self.begins <= now <= self.ends

    @property
    def is_strong(self) -> bool:
        return self.key.key_size >= MIN_KEY_BITS

    def verifies(self, signature: bytes, text: bytes, digest: HashAlgorithm) -> bool:
        """Whether the signature belongs to the text (RSASSA-PKCS1-v1_5, RFC 8017 §8.2)."""
        try:
            self.key.verify(signature, text, PKCS1v15(), digest)
        except InvalidSignature:
            return False
        return True


class CertificateCache:
    """The certificates of a source's senders, by URL. Thread-safe."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._entries: OrderedDict[str, _CacheEntry] = OrderedDict()
        self._lock = Lock()

    def get(self, url: str, now: datetime) -> Certificate:
        """Return the certificate at a pinned URL; the caller checks the validity.

        A single thread fetches; others wait only if they have no valid certificate. An old
        certificate is used until a fetch succeeds. TemporaryFailure without any.
        """
        entry = self._entry(url)
        is_usable = entry.certificate is not None and entry.certificate.is_valid(now)
        if not entry.is_fresh(now) and entry.fetching.acquire(blocking=not is_usable):
            try:
                if not entry.is_fresh(now):
                    self._refresh(entry, url, now)
            finally:
                entry.fetching.release()
        certificate = entry.certificate
        if certificate is None or (entry.failed and not certificate.is_valid(now)):
            raise TemporaryFailure(
                "envelope.no_certificate",
                Localized(
                    "The certificate that the message is signed with cannot be fetched now",
                    "目前无法获取验证该消息签名所需的证书",
                ),
                Localized("The sender should retry.", "发送方应稍后重试。"),
                retry_after=RETRY_AFTER,
            )
        return certificate

    def _entry(self, url: str) -> _CacheEntry:
        with self._lock:
            entry = self._entries.setdefault(url, _CacheEntry())
            self._entries.move_to_end(url)
            if len(self._entries) > MAX_CACHED:
                oldest, *newer = self._entries
                # Requests with invented URLs must not evict certificates that are in use.
                empty = (key for key in (oldest, *newer[:-1]) if not self._entries[key].certificate)
                del self._entries[next(empty, oldest)]
        return entry

    def _refresh(self, entry: _CacheEntry, url: str, now: datetime) -> None:
        try:
            certificate = load_certificate(self._fetch(url))
        except (RelayError, ValueError) as error:
            code = error.code if isinstance(error, RelayError) else "certificate.unreadable"
            log.warning("certificate not fetched", extra={"url": url, "code": code})
            entry.failed = True
            entry.fetch_after = now + (RECHECK_AFTER if entry.certificate else RETRY_AFTER)
            return
        entry.certificate, entry.failed = certificate, False
        is_valid = certificate.is_valid(now)
        entry.fetch_after = (
            min(now + MAX_AGE, certificate.ends) if is_valid else now + RECHECK_AFTER
        )


def load_certificate(body: bytes) -> Certificate:
    """Load the first certificate of a PEM file; ValueError when there is none with an RSA key."""
    try:
        certificate = load_pem_x509_certificate(body)
        key = certificate.public_key()
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError("the type of the certificate's key is not supported") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the certificate's key is not an RSA key")  # noqa: TRY004 - a wrong value
    return Certificate(key, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def decode_signature(signature: str) -> bytes:
    """Decode a base64 signature; Unverified when it is absent or not base64."""
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise unverified("is not signed", "The signature should be present, in base64.")
    return decoded


def check_age(sent: datetime | None, received: datetime, max_age: timedelta) -> None:
    """Raise Unverified unless the time in the message is close to the time of arrival."""
    if sent is None or abs(received - sent) > max_age:
        raise unverified(
            "was signed too long ago, or in the future",
            "Check the clock of this machine. max_age of the source sets the limit.",
        )


def unverified(problem: str, hint: str = "") -> Unverified:
    """The error of a message; `problem` completes the sentence "The sender's message ..."."""
    return Unverified("hook.unverified", f"The sender's message {problem}", hint)


@dataclass(slots=True)
class _CacheEntry:
    certificate: Certificate | None = None
    failed: bool = False
    fetch_after: datetime | None = None
    fetching: Lock = field(default_factory=Lock)

    def is_fresh(self, now: datetime) -> bool:
        # The upper limit: after a clock was set back, an old certificate is not used for long.
        if self.fetch_after is None:
            return False
        return timedelta(0) < self.fetch_after - now <= MAX_AGE + RETRY_AFTER
