"""Certificates that senders sign with, got from pinned addresses and kept for all threads."""

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

FRESH = timedelta(days=1)
"""How long a certificate is taken without looking again."""

PAUSE = timedelta(minutes=1)
"""The same for one that is not valid now, or that no newer one could be had for."""

SOON = timedelta(seconds=10)
"""How long nobody tries again after a fetch that failed: senders are told to come again."""

SHORTEST = 2048
"""Bits of an RSA key (NIST SP 800-131A)."""

MOST = 32
"""Addresses that are remembered; a sender has one certificate for each region."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What we use of an X.509 certificate."""

    key: RSAPublicKey
    begins: datetime
    ends: datetime

    def is_valid(self, now: datetime) -> bool:
        return self.begins <= now <= self.ends

    @property
    def is_strong(self) -> bool:
        """Whether nobody but its owner can sign with its key."""
        return self.key.key_size >= SHORTEST

    def signed(self, signature: bytes, text: bytes, digest: HashAlgorithm) -> bool:
        """Whether this is the text's signature: RSASSA-PKCS1-v1_5, RFC 8017 §8.2."""
        try:
            self.key.verify(signature, text, PKCS1v15(), digest)
        except InvalidSignature:
            return False
        return True


class Certificates:
    """The certificates of one source's senders, by address. For many threads."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._changing = Lock()

    def get(self, url: str, now: datetime) -> Certificate:
        """What is at an address that was pinned before; whether it is valid is left to the caller.

        One thread fetches it; others wait for that, but not when they have a valid one. It is used
        as long as no newer one can be had. TemporaryFailure when there is none.
        """
        place = self._place(url)
        usable = place.certificate is not None and place.certificate.is_valid(now)
        if not place.is_fresh(now) and place.fetching.acquire(blocking=not usable):
            try:
                if not place.is_fresh(now):
                    self._refresh(place, url, now)
            finally:
                place.fetching.release()
        found = place.certificate
        if found is None or (place.failed and not found.is_valid(now)):
            raise TemporaryFailure(
                "envelope.no_certificate",
                Localized(
                    "The certificate that the message is signed with cannot be fetched now",
                    "目前无法获取验证该消息签名所需的证书",
                ),
                Localized("The sender should come again.", "发送方应稍后重试。"),
                retry_after=SOON,
            )
        return found

    def _place(self, url: str) -> _Place:
        with self._changing:
            place = self._places.setdefault(url, _Place())
            self._places.move_to_end(url)
            if len(self._places) > MOST:
                oldest, *others = self._places
                # Whoever makes up addresses must not push out the certificates that are in use.
                empty = (one for one in (oldest, *others[:-1]) if not self._places[one].certificate)
                del self._places[next(empty, oldest)]
        return place

    def _refresh(self, place: _Place, url: str, now: datetime) -> None:
        try:
            found = load(self._fetch(url))
        except (RelayError, ValueError) as error:
            code = error.code if isinstance(error, RelayError) else "certificate.unreadable"
            log.warning("certificate not fetched", extra={"url": url, "code": code})
            place.failed, place.until = True, now + (PAUSE if place.certificate else SOON)
            return
        place.certificate, place.failed = found, False
        place.until = min(now + FRESH, found.ends) if found.is_valid(now) else now + PAUSE


def load(body: bytes) -> Certificate:
    """The certificate in a PEM, the first if there are several; ValueError when there is none."""
    try:
        found = load_pem_x509_certificate(body)
        key = found.public_key()
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError("its key is of no kind that we know") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("its key is not one of RSA")  # noqa: TRY004 - its value is wrong
    return Certificate(key, found.not_valid_before_utc, found.not_valid_after_utc)


def decoded(signature: str) -> bytes:
    """The bytes of a signature; Unverified when there is none, or it is not base64."""
    try:
        found = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not found:
        raise unverified("is not signed", "Its signature should be there, in base64.")
    return found


def check_age(sent: datetime | None, received: datetime, most: timedelta) -> None:
    """Raises Unverified unless the time that a message says is near the one that it came at."""
    if sent is None or abs(received - sent) > most:
        raise unverified(
            "was signed too long ago, or in the future",
            "Check this machine's clock; max_age of the source says how old it may be.",
        )


def unverified(what: str, hint: str = "") -> Unverified:
    """The error of a message of which this is to be said."""
    return Unverified("hook.unverified", f"The sender's message {what}", hint)


@dataclass(slots=True)
class _Place:
    """What is known of one address. `until`: when to look again."""

    certificate: Certificate | None = None
    failed: bool = False
    until: datetime | None = None
    fetching: Lock = field(default_factory=Lock)

    def is_fresh(self, now: datetime) -> bool:
        # A clock that was set back must not keep an old certificate for long.
        return self.until is not None and timedelta(0) < self.until - now <= FRESH + SOON
