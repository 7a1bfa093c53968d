"""No value is ever quoted, since any wrong value may be a secret in the wrong place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from relay.config.load import load
from relay.errors import ConfigErrors

from .conftest import ConfigErrorsOf, resolve

BASE = {
    "sources": {"exports": {"kind": "bucket"}},
    "targets": {"prod": {"kind": "cloud", "region": "cn-north-4"}},
    "channels": {"ops": {"kind": "chat", "url": "https://chat.example.com"}},
    "routes": [{"source": "exports", "target": "prod"}],
}
PLACES = [
    ("public_url",),
    ("database",),
    ("database", "url"),
    ("database", "unknown"),
    ("api", "tokens"),
    ("server", "proxies"),
    ("hooks", "max_body"),
    ("delivery", "lease"),
    ("outbound", "allow_private"),
    ("sources", "exports"),
    ("sources", "exports", "kind"),
    ("sources", "exports", "buckets"),
    ("sources", "exports", "scan_every"),
    ("sources", "exports", "addressing_style"),
    ("sources", "exports", "unknown"),
    ("targets", "prod", "concurrency"),
    ("targets", "prod", "auth"),
    ("targets", "prod", "rate"),
    ("targets", "prod", "max_size"),
    ("channels", "ops", "language"),
    ("channels", "ops", "on"),
    ("channels", "ops", "signing"),
    ("routes",),
    ("routes", 0),
    ("routes", 0, "source"),
    ("routes", 0, "target"),
    ("routes", 0, "channels"),
    ("routes", 0, "name"),
    ("routes", 0, "on_conflict"),
]
SECRETS = st.text(
    st.characters(codec="ascii", exclude_categories=("Cc",)), min_size=8, max_size=40
).map(lambda text: f"s3cr3t{text}!")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inner = (f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _with(place: tuple[str | int, ...], value: object) -> dict[str, object]:
    tree: dict[str, object] = json.loads(json.dumps(BASE))
    node: object = tree
    for part in place[:-1]:
        node = node.setdefault(part, {}) if isinstance(node, dict) else node[part]  # type: ignore[index]
    node[place[-1]] = value  # type: ignore[index]
    return tree


def _told(file: Path, environ: dict[str, str]) -> str:
    try:
        load(file, environ, resolve)
    except ConfigErrors as error:
        return f"{error} {error!r} {error.__cause__!r} {error.errors!r} {error.problem!r}"
    return ""


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: [s], lambda s: {"key": s}])
@given(secret=SECRETS)
@rules(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_error_does_not_quote_a_secret_in_the_wrong_place_of_the_file(
    file: Path, place: tuple[str | int, ...], wrap: object, secret: str
) -> None:
    tree = _with(place, wrap(secret))  # type: ignore[operator]
    file.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in tree.items()))
    assert secret not in _told(file, {})


@pytest.mark.parametrize("place", [one for one in PLACES if one[0] != "routes"])
@given(secret=SECRETS)
@rules(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_error_does_not_quote_a_secret_in_the_wrong_variable(
    file: Path, place: tuple[str, ...], secret: str
) -> None:
    file.write_text("\n".join(f"{key} = {_toml(value)}" for key, value in BASE.items()))
    assert secret not in _told(file, {"RELAY_" + "__".join(place).upper(): secret})


def test_an_error_does_not_quote_a_secret_that_breaks_the_file(wrong: ConfigErrorsOf) -> None:
    errors = wrong('[sources.x]\ntoken = "s3cr3t-t0ken\n')
    assert errors.popitem()[1].endswith("is not TOML. Look at line 2, column 22.")


def test_values_are_removed_from_the_messages_of_a_careless_plug_in(wrong: ConfigErrorsOf) -> None:
    errors = wrong('[channels.x]\nkind = "chat"\nurl = "u"\nsigning = "s3cr3t"\n')
    assert errors == {"channels.x.signing": "'…' does not start with whsec_. "}


def test_choices_stay_readable_in_the_messages_of_a_plug_in(wrong: ConfigErrorsOf) -> None:
    text = '[targets.x]\nkind = "cloud"\nregion = "r"\nauth = "aksk"\nproject_id = "0123abcd"\n'
    assert wrong(text) == {"targets.x": "auth = aksk needs secret_key for …. "}
