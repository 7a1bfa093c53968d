"""Settings that S3-compatible kinds share: the store's address and the fields with own defaults."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from relay.config.load import SourceSettings
from relay.sources.s3.storage import Address, S3Settings

Addressing = Literal["auto", "path", "virtual"]


def accept_field(*envelopes: str) -> Any:
    """The field `accept` with the envelopes of a kind as the default."""
    return Field(envelopes, description=SourceSettings.model_fields["accept"].description)


def addressing_field(style: Addressing) -> Any:
    """The field `addressing_style` with the default of a kind."""
    description = S3Settings.model_fields["addressing_style"].description
    return Field(style, description=description)


class OwnStoreSettings(S3Settings):
    """A self-hosted store, which always needs an address."""

    endpoint_url: Address = Field(description="the store's address")
    addressing_style: Addressing = addressing_field("path")


class CloudStoreSettings(S3Settings):
    """A provider's store. `endpoint_url` overrides the address, for private networks or tests."""

    url_template: ClassVar[str]
    """The store's address, with settings in braces."""
    url_settings: ClassVar[tuple[str, ...]] = ("region",)
    """The settings in `url_template`."""

    endpoint_url: Address | None = Field(None, description="the store's address, if not the usual")

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if not self.endpoint_url and not all(getattr(self, name) for name in self.url_settings):
            raise ValueError(f"set {' and '.join(self.url_settings)}, or endpoint_url")
        return self

    @property
    def address(self) -> str:
        values = {name: getattr(self, name) for name in self.url_settings}
        return self.endpoint_url or self.url_template.format_map(values)
