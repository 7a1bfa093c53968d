"""Senders that share a secret with Relay: Backblaze B2, and scripts with Standard Webhooks.

Independent of relay/sources/envelopes, so that a mistake there is found: HMAC follows RFC 2104.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from typing import Any

B2_HEADER = "x-bz-event-notification-signature"
B2_EVENT: dict[str, Any] = {
    "accountId": "e85c6a500333",
    "bucketId": "aea8c5bc362ae55070130333",
    "bucketName": "exports",
    "eventId": "eventId",
    "eventTimestamp": 1684793309123,
    "eventType": "b2:ObjectCreated:Upload",
    "eventVersion": 1,
    "matchedRuleName": "mySampleRule1",
    "objectName": "prod/hello.zip",
    "objectSize": 10495842,
    "objectVersionId": "4_zaea8c5bc362ae55070130333_f117c7bd5d6c6597c_d20230521_m235957_c001",
}
OWN = {"bucket": "exports", "key": "prod/hello.zip", "version": "v7", "size": 3}
"""Relay's own record."""


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + text).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def b2(secret: str, body: bytes) -> dict[str, str]:
    """The headers of a delivery of B2."""
    return {
        "content-type": "application/json",
        "user-agent": "B2/EventNotifications",
        B2_HEADER: f"v1={hmac_sha256(secret.encode(), body).hex()}",
    }


def signed(
    key: bytes, body: bytes, now: datetime, name: str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W"
) -> dict[str, str]:
    """The headers of a message that was signed at `now`."""
    sent = str(int(now.timestamp()))
    digest = hmac_sha256(key, f"{name}.{sent}.".encode() + body)
    return {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
