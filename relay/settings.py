"""relay.toml and the environment become one typed Settings; every error names its path and what would be right."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Table(BaseModel):
    """A table of relay.toml: unknown keys are errors, values never appear in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SourceSettings(Table):
    """What every source understands; a handler's `Settings` adds its own keys."""

    kind: str
    buckets: tuple[str, ...] = ()
    accept: tuple[str, ...] = ("bare",)
    token: SecretStr | None = None


class TargetSettings(Table):
    """What every target understands; a target's `Settings` adds its own keys."""

    kind: str
    concurrency: int = Field(1, ge=1)


class ChannelSettings(Table):
    """What every channel understands; a channel's `Settings` adds its own keys."""

    kind: str
    language: Literal["en", "zh"] = "en"
    on: tuple[Literal["succeeded", "failed", "skipped"], ...] = ("succeeded", "failed", "skipped")
