"""Posts messages to any HTTP endpoint as JSON, signed by the Standard Webhooks scheme.

Source: the Standard Webhooks specification 1.0.0 (standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

import relay.channels.contract
from relay.channels.contract import Message, Posted
from relay.channels.messages import localize
from relay.config.load import ChannelSettings
from relay.errors import PermanentFailure
from relay.model import Json, Localized, utc_now
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl, refusal

_PREFIX = "whsec_"


class WebhookSettings(ChannelSettings):
    """Several secrets all sign, so that a receiver can move from one to the next at leisure."""

    burst: int = Field(
        0,
        ge=0,
        le=1000,
        description="as in every channel, but by default none is told in a digest: machines read "
        "these",
    )
    url: PostUrl = Field(description="where messages are posted; may hold credentials")
    secret: SecretStr | tuple[SecretStr, ...] = Field(
        (), description="whsec_ and base64 of 24 to 64 random bytes, or several; none: unsigned"
    )

    @field_validator("secret")
    @classmethod
    def _holds_keys(cls, value: SecretStr | tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        given = (value,) if isinstance(value, SecretStr) else value
        secrets = tuple(secret for secret in given if secret.get_secret_value())
        for secret in secrets:
            parse_secret(secret.get_secret_value())
        return secrets

    @property
    def secrets(self) -> tuple[str, ...]:
        given = (self.secret,) if isinstance(self.secret, SecretStr) else self.secret
        return tuple(secret.get_secret_value() for secret in given)


class Channel(relay.channels.contract.Channel):
    """One endpoint."""

    Settings: ClassVar[type[ChannelSettings]] = WebhookSettings

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        outbound: HttpClientFactory,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name, settings, outbound)
        self._clock = clock
        self._keys = tuple(parse_secret(secret) for secret in settings.secrets)
        self._poster = Poster(outbound, settings.url.get_secret_value(), settings.secrets)

    def preview(self, message: Message) -> Json:
        """What is posted."""
        return build_payload(message, self.settings.language)

    def post(self, message: Message) -> Posted:
        """Any 2xx is success.

        Only 410 is final, as the specification says: everything else may be a receiver that is
        misconfigured or half deployed for an hour, and that must not cost the message.
        """
        body = encode(message, self.settings.language)
        headers = {"content-type": "application/json", "webhook-id": message.id}
        if self._keys:
            headers |= signature_headers(message.id, self._clock(), body, self._keys)
        answer = self._poster.post(body, headers)
        if 200 <= answer.status < 300:
            return Posted(answer.summary)
        if answer.status == 410:
            raise PermanentFailure(
                "webhook.gone",
                Localized(
                    "The endpoint says that it wants no more messages (410 Gone)",
                    "接收端表示不再接收消息（410 Gone）",
                ),
                Localized(
                    f"Give channels.{self.name} a new url, or take it out of the routes; "
                    "then retrigger the message.",
                    f"请为 channels.{self.name} 设置新的 url，或将其从路由中移除，"
                    "然后重新触发该消息。",
                ),
                answer=answer.summary,
            )
        raise refusal(answer)

    def close(self) -> None:
        self._poster.close()


def encode(message: Message, language: str) -> bytes:
    """The body that is posted and signed: {"type", "timestamp", "data"}, compact JSON in ASCII.

    ASCII, so that the signed bytes survive every receiver that decodes before it verifies.
    """
    return json.dumps(build_payload(message, language), separators=(",", ":")).encode("ascii")


def build_payload(message: Message, language: str) -> Json:
    """What is posted: the body's `test` is true when `relay channels test` posts it."""
    return {
        "type": message.type,
        "timestamp": message.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": localize(message.body, language),
    }


def signature_headers(
    message_id: str, now: datetime, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """`webhook-timestamp` and `webhook-signature` over `id.timestamp.body`, one for each key."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys)
    return {
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{one.decode('ascii')}" for one in signatures),
    }


def parse_secret(secret: str) -> bytes:
    """The key in a `whsec_` secret. ValueError says what is wrong, never what was given."""
    if not secret.startswith(_PREFIX):
        raise ValueError(f"a signing secret starts with {_PREFIX}")
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {_PREFIX} is not base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a signing secret holds 24 to 64 random bytes, in base64")
    return key
