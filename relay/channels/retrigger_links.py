"""Signed links in messages to retrigger a delivery: for one use, with an expiry.

The token in the link contains the grant, signed with a key derived from `api.tokens`; nothing is
stored. The grant includes the number of attempts at the time of the message: after another attempt
the number is higher, and the link is used up.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from itsdangerous import BadData, URLSafeSerializer

from relay.config.load import Settings
from relay.model import Delivery, Json

PATH = "/links/"

_TOKEN = re.compile(r"[A-Za-z0-9._-]{20,600}")


@dataclass(frozen=True, slots=True)
class RetriggerGrant:
    """The permission in a link: to retrigger `delivery` while it has `attempts`, until `ends`.

    `channel`: where the link was posted.
    """

    delivery: str
    attempts: int
    channel: str
    ends: datetime


def add_signed_link(settings: Settings, message: Delivery) -> Json:
    """Return the body of a message, with a signed link instead of the link to the page.

    The link is identical when the message is retried. The body is unchanged without api.tokens,
    public_url or api.links_last, and if the message is not about a single import.
    """
    content: Json = message.message or {}
    body: Json = content.get("body") or {}
    page = (body.get("links") or {}).get("retrigger")
    delivery, attempts = body.get("delivery"), body.get("attempts")
    lifetime = settings.api.links_last
    is_import = str(content.get("type")).startswith("import.")
    single = is_import and delivery and isinstance(attempts, int)
    if not (single and page and lifetime and settings.public_url and settings.api.tokens):
        return body
    ends = int((message.created + lifetime).timestamp())
    token = _serializer(settings).dumps([delivery, attempts, message.destination, ends])
    link = f"{settings.public_url}{PATH}{token}"
    return {**body, "links": {**body["links"], "retrigger": link}}


def read_token(settings: Settings, token: str) -> RetriggerGrant | None:
    """Return the grant in a link's token; None unless the signature is valid.

    The caller checks the expiry and the number of attempts.
    """
    if not settings.api.tokens or not _TOKEN.fullmatch(token):
        return None
    try:
        delivery, attempts, channel, ends = _serializer(settings).loads(token)
        return RetriggerGrant(delivery, attempts, channel, datetime.fromtimestamp(ends, UTC))
    except (BadData, ValueError, TypeError):
        return None


def _serializer(settings: Settings) -> URLSafeSerializer:
    """Sign with the first API token, verify with all of them, so that tokens can be rotated."""
    tokens = tuple(token.get_secret_value() for token in settings.api.tokens)
    # itsdangerous signs with the last key of the list, and compares in constant time.
    return URLSafeSerializer(
        [_key(token) for token in reversed(tokens)],
        salt="relay link 1",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


@lru_cache(maxsize=16)
def _key(token: str) -> bytes:
    # Signatures are posted to chats: an expensive derivation keeps readers from guessing a weak
    # API token.
    return hashlib.scrypt(token.encode(), salt=b"relay link 1", n=2**14, r=8, p=1)
