"""The list of envelopes: a new envelope is a class and an entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from relay.config.load import SourceSettings, load
from relay.errors import ConfigErrors, Unverified
from relay.intake.intake import build_envelopes
from relay.model import Incoming
from relay.plugins import settings_class
from relay.sources.envelope import Envelope
from relay.sources.envelopes import ENVELOPES, secret_fields, source_settings
from tests.notifications.signing import NOW


class ToySettings(SourceSettings):
    toy_password: SecretStr | None = None


class Toy(Envelope):
    name = "toy"
    Settings = ToySettings
    secret_fields = ("toyConfirmation",)
    settings: ToySettings

    def missing_setting(self) -> str | None:
        return None if self.settings.toy_password else "toy_password"

    def recognises(self, incoming: Incoming) -> bool:
        return "x-toy" in incoming.headers

    def verify(self, incoming: Incoming) -> None:
        password = self.settings.toy_password
        if password is None or incoming.headers["x-toy"] != password.get_secret_value():
            raise Unverified("hook.unverified", "wrong password")

    def unwrap(self, incoming: Incoming) -> Iterator[Mapping[str, Any]]:
        yield {"toy": incoming.body}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    monkeypatch.setitem(ENVELOPES, "toy", Toy)  # type: ignore[misc, arg-type]
    return Toy


def load_source(folder: Path, keys: str, kind: str = "s3") -> SourceSettings:
    file = folder / "relay.toml"
    file.write_text(f'[sources.exports]\nkind = "{kind}"\n{keys}')
    return load(file, {}, settings_class).sources["exports"]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
def test_accept_takes_a_new_envelope_and_its_keys_exist(tmp_path: Path, kind: str) -> None:
    keys = 'accept = ["toy", "bare"]\ntoy_password = "open sesame"\n'
    if kind == "azure":
        keys += 'account = "exports"\n'
    source = load_source(tmp_path, keys, kind)
    offered = {envelope.name: envelope for envelope in build_envelopes(source)}
    assert offered.keys() == {"toy", "bare"}
    assert offered["toy"].missing_setting() is None
    incoming = Incoming("exports", b"{}", NOW, headers={"x-toy": "open sesame"})
    assert offered["toy"].recognises(incoming)
    offered["toy"].verify(incoming)
    assert "toyConfirmation" in secret_fields()


def test_without_its_entry_a_new_envelope_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="no envelope has this name"):
        load_source(tmp_path, 'accept = ["toy"]\n')
    with pytest.raises(ConfigErrors, match="toy_password"):
        load_source(tmp_path, 'toy_password = "open sesame"\n')


def test_every_envelope_is_listed_under_its_own_name() -> None:
    assert {name: envelope.name for name, envelope in ENVELOPES.items()} == {
        name: name for name in ENVELOPES
    }


def test_extended_settings_keep_the_keys_of_the_storage() -> None:
    class Storage(SourceSettings):
        endpoint: str = ""

    extended = source_settings(Storage)
    assert issubclass(extended, Storage)
    assert extended(kind="x", endpoint="y").endpoint == "y"  # type: ignore[attr-defined]
    assert extended.envelopes == tuple(ENVELOPES)
