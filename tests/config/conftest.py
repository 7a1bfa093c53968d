"""A configuration file, and plug-ins with settings of every type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, Field, SecretStr, model_validator

from relay.config.load import ChannelSettings, Settings, SourceSettings, Table, TargetSettings, load
from relay.config.units import Duration, Rate, Size
from relay.errors import ConfigError, ConfigErrors


class Bucket(SourceSettings):
    region: str = "us-east-1"
    secret_access_key: SecretStr | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    scan_every: Duration = Field(default="0", validate_default=True)  # type: ignore[assignment]


class Cloud(TargetSettings):
    project_id: str = Field("", description="32 letters and digits")
    region: str = Field(description="such as cn-north-4")
    auth: Literal["auto", "token", "aksk"] = "auto"
    secret_key: SecretStr | None = None
    max_size: Size = 300 * 2**20
    rate: Rate | None = None

    @model_validator(mode="after")
    def _complete(self) -> Cloud:
        if self.auth == "aksk" and self.secret_key is None:
            # A stranger's plug-in that is careless with values.
            raise ValueError(f"auth = aksk needs secret_key for {self.project_id}")
        return self


def _careless(value: object) -> object:
    if isinstance(value, str) and not value.startswith("whsec_"):
        raise ValueError(f"{value!r} does not start with whsec_")
    return value


class Chat(ChannelSettings):
    url: SecretStr
    secrets: Annotated[tuple[SecretStr, ...] | SecretStr, Field(default=())]
    signing: Annotated[str | None, BeforeValidator(_careless)] = None


PLUG_INS: Mapping[tuple[str, str], type[Table]] = {
    ("handlers", "bucket"): Bucket,
    ("targets", "cloud"): Cloud,
    ("channels", "chat"): Chat,
}


def resolve(group: str, kind: str) -> type[Table]:
    try:
        return PLUG_INS[group, kind]
    except KeyError:
        known = ", ".join(name for where, name in PLUG_INS if where == group)
        raise ConfigError("", "no plug-in has this name", f"Known: {known}.") from None


Loader = Callable[..., Settings]
ConfigErrorsOf = Callable[..., dict[str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "relay.toml"


@pytest.fixture
def loaded(file: Path) -> Loader:
    """loaded(text, NAME=value, ...) -> the settings of that file in that environment."""

    def loaded(text: str = "", **environ: str) -> Settings:
        file.write_text(text, encoding="utf-8")
        return load(file, environ, resolve)

    return loaded


@pytest.fixture
def wrong(loaded: Loader) -> ConfigErrorsOf:
    """wrong(text, NAME=value, ...) -> what is wrong with it: path -> words and hint."""

    def wrong(text: str = "", **environ: str) -> dict[str, str]:
        with pytest.raises(ConfigErrors) as raised:
            loaded(text, **environ)
        return {error.path: f"{error.message.en}. {error.hint.en}" for error in raised.value.errors}

    return wrong
