"""Where S3-compatible stores are: at an address of one's own, or one that follows from a region."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from relay.config.load import SourceSettings
from relay.sources.s3.storage import Address, S3Settings

Addressing = Literal["auto", "path", "virtual"]


def accepts(*envelopes: str) -> Any:
    """The field `accept` of a kind whose notifications come in these envelopes."""
    return Field(envelopes, description=SourceSettings.model_fields["accept"].description)


def addressed(style: Addressing) -> Any:
    """The field `addressing_style` of a kind whose stores want buckets to stand there."""
    described = S3Settings.model_fields["addressing_style"].description
    return Field(style, description=described)


class OwnStoreSettings(S3Settings):
    """A store that somebody runs: nobody but they can say where."""

    endpoint_url: Address = Field(description="the store's address")
    addressing_style: Addressing = addressed("path")


class CloudStoreSettings(S3Settings):
    """A store of a provider. `place` is its address, with settings in braces; `endpoint_url`
    leads elsewhere: to a private network, another partition, a test."""

    place: ClassVar[str]
    needed: ClassVar[tuple[str, ...]] = ("region",)
    """The settings that `place` is made of."""

    endpoint_url: Address | None = Field(None, description="the store's address, if not the usual")

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.endpoint_url and not all(getattr(self, name) for name in self.needed):
            raise ValueError(f"set {' and '.join(self.needed)}, or endpoint_url")
        return self

    @property
    def address(self) -> str:
        known = {name: getattr(self, name) for name in self.needed}
        return self.endpoint_url or self.place.format_map(known)
