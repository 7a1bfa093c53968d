"""The keys of a source of kind gcs, and who asks by them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, FilePath, model_validator

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.config.senders import Secret
from relay.handlers.gcs.auth import PULL, READ_STORAGE, by_key, by_machine, read_key_file
from relay.outbound.credentials import Anonymous, Bearer, Credential
from relay.outbound.token_cache import ExpiringValue
from relay.sources.http_storage import Address, HttpSettings


class GcsSettings(HttpSettings):
    """Without credentials: the service account of the machine that Relay runs on."""

    accept: tuple[str, ...] = Field(
        ("pubsub", "cloudevents", "signed", "bare"),
        description=SourceSettings.model_fields["accept"].description,
    )
    endpoint_url: Address = Field(
        "https://storage.googleapis.com", description="where Cloud Storage, or an emulator, is"
    )
    credentials_file: Annotated[FilePath | None, BeforeValidator(rules.nothing_if_empty)] = Field(
        None, description="a service account's key; without it, the machine's own account"
    )
    access_token: Secret = Field(None, description="a token that somebody else renews")
    metadata_url: Address = Field(
        "http://metadata.google.internal", description="where the machine's own account is found"
    )
    subscription: str | None = Field(
        None,
        pattern=r"^projects/[a-z0-9][A-Za-z0-9.:-]{1,99}/subscriptions/[A-Za-z][A-Za-z0-9._~%+-]{2,254}$",
        description="the Pub/Sub subscription to pull from, beside the hook or instead: "
        "projects/P/subscriptions/S",
    )
    pubsub_url: Address = Field(
        "https://pubsub.googleapis.com", description="where Pub/Sub, or an emulator, is"
    )

    @model_validator(mode="after")
    def _one_who_asks(self) -> Self:
        if sum(map(bool, (self.credentials_file, self.access_token, self.anonymous))) > 1:
            raise ValueError("set one of credentials_file, access_token and anonymous")
        return self


def credential(name: str, settings: GcsSettings) -> Credential:
    """Who asks, as the source's settings say. ConfigError: the key file is none."""
    scope = f"{READ_STORAGE} {PULL}" if settings.subscription else READ_STORAGE
    if settings.anonymous:
        return Anonymous()
    if settings.access_token:
        token = settings.access_token.get_secret_value()
        return Bearer(lambda: ExpiringValue(token))
    if settings.credentials_file:
        setting = f"sources.{name}.credentials_file"
        return Bearer(by_key(read_key_file(settings.credentials_file, setting), scope))
    return Bearer(by_machine(settings.metadata_url, scope))
