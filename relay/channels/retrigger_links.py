"""Links in messages by which a delivery is tried again: signed, for one use, with an end. Pure.

A link holds what it is for, and a signature over that with a key made of `api.tokens`; it is made
when its message is posted and kept nowhere. It says how many attempts the message told of: once
anybody has had the delivery tried again there are more, and the link is used up.
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
# What is signed is posted to chats: whoever reads there must not find a weak token by trying.
_COST = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class RetriggerGrant:
    """What a link is for: to try `delivery` again, of whose `attempts` a message in `channel`
    told, until it `ends`."""

    delivery: str
    attempts: int
    channel: str
    ends: datetime


def add_signed_link(settings: Settings, message: Delivery) -> Json:
    """The body of a message to be posted, with a signed link in place of the page's.

    The same at every repeat. Without api.tokens, public_url or api.links_last, and for what tells
    of no single import, the body as it is.
    """
    told: Json = message.message or {}
    body: Json = told.get("body") or {}
    there = (body.get("links") or {}).get("retrigger")
    about, attempts = body.get("delivery"), body.get("attempts")
    lasts = settings.api.links_last
    single = str(told.get("type")).startswith("import.") and about and isinstance(attempts, int)
    if not (single and there and lasts and settings.public_url and settings.api.tokens):
        return body
    ends = int((message.created + lasts).timestamp())
    token = _serializer(settings).dumps([about, attempts, message.destination, ends])
    link = f"{settings.public_url}{PATH}{token}"
    return {**body, "links": {**body["links"], "retrigger": link}}


def read_token(settings: Settings, token: str) -> RetriggerGrant | None:
    """What a link's last part offers; None unless one of our tokens signed exactly that.

    Whether it has ended, or was used, is not looked at here.
    """
    if not settings.api.tokens or not _TOKEN.fullmatch(token):
        return None
    try:
        about, attempts, channel, ends = _serializer(settings).loads(token)
        return RetriggerGrant(about, attempts, channel, datetime.fromtimestamp(ends, UTC))
    except (BadData, ValueError, TypeError):
        return None


def _serializer(settings: Settings) -> URLSafeSerializer:
    """The first token signs, each of them verifies: they can be changed at leisure."""
    tokens = tuple(token.get_secret_value() for token in settings.api.tokens)
    # itsdangerous signs with the last of its keys, and compares in constant time.
    return URLSafeSerializer(
        [_key(token) for token in reversed(tokens)],
        salt="relay link 1",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


@lru_cache(maxsize=16)
def _key(token: str) -> bytes:
    return hashlib.scrypt(token.encode(), salt=b"relay link 1", **_COST)
