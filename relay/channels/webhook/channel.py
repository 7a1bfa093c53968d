"""Posts messages to any HTTP endpoint as JSON, signed as Standard Webhooks defines.

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

from relay.channels import contract
from relay.channels.contract import Message, Posted
from relay.channels.messages import localize
from relay.config.load import ChannelSettings
from relay.errors import PermanentFailure
from relay.model import Json, Localized, utc_now
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl, refusal

_PREFIX = "whsec_"


class WebhookSettings(ChannelSettings):
    """Settings of an endpoint. Each secret adds a signature, so that secrets can be rotated."""

    burst: int = Field(
        0,
        ge=0,
        le=1000,
        description="as in every channel, but off by default: programs expect single messages",
    )
    url: PostUrl = Field(description="where messages are posted; may contain credentials")
    secret: SecretStr | tuple[SecretStr, ...] = Field(
        (), description="whsec_ and base64 of 24 to 64 random bytes, or a list; none: unsigned"
    )

    @field_validator("secret")
    @classmethod
    def _check_secrets(cls, value: SecretStr | tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        values = (value,) if isinstance(value, SecretStr) else value
        secrets = tuple(secret for secret in values if secret.get_secret_value())
        for secret in secrets:
            parse_secret(secret.get_secret_value())
        return secrets

    @property
    def secrets(self) -> tuple[str, ...]:
        values = (self.secret,) if isinstance(self.secret, SecretStr) else self.secret
        return tuple(secret.get_secret_value() for secret in values)


class Channel(contract.Channel):
    """An HTTP endpoint."""

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
        return build_payload(message, self.settings.language)

    def post(self, message: Message) -> Posted:
        """Post the message. Any 2xx is a success.

        Only 410 is permanent, as the specification says. Any other status may come from a receiver
        that is misconfigured or being deployed, so the message is retried.
        """
        body = encode(message, self.settings.language)
        headers = {"content-type": "application/json", "webhook-id": message.id}
        if self._keys:
            headers |= signature_headers(message.id, self._clock(), body, self._keys)
        response = self._poster.post(body, headers)
        if 200 <= response.status < 300:
            return Posted(response.summary)
        if response.status == 410:
            raise PermanentFailure(
                "webhook.gone",
                Localized(
                    "The endpoint does not accept messages any more (410 Gone)",
                    "接收端不再接收消息（410 Gone）",
                ),
                Localized(
                    f"Set a new url for channels.{self.name}, or remove it from the routes; "
                    "then retrigger the message.",
                    f"请为 channels.{self.name} 设置新的 url，或将其从路由中移除，"
                    "然后重新触发该消息。",
                ),
                answer=response.summary,
            )
        raise refusal(response)

    def close(self) -> None:
        self._poster.close()


def encode(message: Message, language: str) -> bytes:
    """Encode the payload as compact JSON in ASCII.

    Receivers that decode the body before they verify the signature keep ASCII bytes unchanged.
    """
    return json.dumps(build_payload(message, language), separators=(",", ":")).encode("ascii")


def build_payload(message: Message, language: str) -> Json:
    """Return what is posted. `data.test` is true in a message of `relay channels test`."""
    return {
        "type": message.type,
        "timestamp": message.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": localize(message.body, language),
    }


def signature_headers(
    message_id: str, now: datetime, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """Return the timestamp, and the signature of `id.timestamp.body` by each key."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    signatures = (f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {"webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def parse_secret(secret: str) -> bytes:
    """Return the key in a `whsec_` secret. A ValueError never contains the secret."""
    if not secret.startswith(_PREFIX):
        raise ValueError(f"a signing secret starts with {_PREFIX}")
    encoded = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"the part after {_PREFIX} is not base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a signing secret is 24 to 64 random bytes, in base64")
    return key
