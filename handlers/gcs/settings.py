"""Settings of kind gcs, and the credential they select."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, FilePath, model_validator

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.config.senders import Secret
from relay.handlers.gcs.auth import (
    PULL,
    READ_STORAGE,
    key_token_fetcher,
    machine_token_fetcher,
    read_key_file,
)
from relay.outbound.credentials import Anonymous, Bearer, Credential
from relay.outbound.token_cache import ExpiringValue
from relay.sources.http_storage import Address, HttpSettings


class GcsSettings(HttpSettings):
    """Without credentials, the service account of Relay's machine applies."""

    accept: tuple[str, ...] = Field(
        ("pubsub", "cloudevents", "signed", "bare"),
        description=SourceSettings.model_fields["accept"].description,
    )
    endpoint_url: Address = Field(
        "https://storage.googleapis.com",
        description="the address of Cloud Storage, or of an emulator",
    )
    credentials_file: Annotated[FilePath | None, BeforeValidator(rules.nothing_if_empty)] = Field(
        None,
        description="the key file of a service account; by default, the account of the machine",
    )
    access_token: Secret = Field(None, description="an access token, which Relay does not renew")
    metadata_url: Address = Field(
        "http://metadata.google.internal", description="the address of the metadata server"
    )
    subscription: str | None = Field(
        None,
        pattern=r"^projects/[a-z0-9][A-Za-z0-9.:-]{1,99}/subscriptions/[A-Za-z][A-Za-z0-9._~%+-]{2,254}$",
        description="the Pub/Sub subscription to pull from, beside or instead of the hook: "
        "projects/P/subscriptions/S",
    )
    pubsub_url: Address = Field(
        "https://pubsub.googleapis.com", description="the address of Pub/Sub, or of an emulator"
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if sum(map(bool, (self.credentials_file, self.access_token, self.anonymous))) > 1:
            raise ValueError("set one of credentials_file, access_token and anonymous")
        return self


def credential(name: str, settings: GcsSettings) -> Credential:
    """The credential that the settings select. ConfigError if the key file is not valid."""
    scope = f"{READ_STORAGE} {PULL}" if settings.subscription else READ_STORAGE
    if settings.anonymous:
        return Anonymous()
    if settings.access_token:
        token = settings.access_token.get_secret_value()
        return Bearer(lambda: ExpiringValue(token))
    if settings.credentials_file:
        setting = f"sources.{name}.credentials_file"
        return Bearer(key_token_fetcher(read_key_file(settings.credentials_file, setting), scope))
    return Bearer(machine_token_fetcher(settings.metadata_url, scope))
