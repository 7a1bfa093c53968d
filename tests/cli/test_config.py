"""`relay config schema`: a valid JSON Schema that agrees with the loader."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from relay.config.load import Settings
from relay.plugins import known, settings_class

from .conftest import CONFIGURATION, Run


@pytest.fixture
def schema(run: Run) -> dict[str, Any]:
    result = run("config", "schema")
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def errors(schema: dict[str, Any], text: str) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(tomllib.loads(text))
    return sorted({error.json_path for error in found})


def test_the_output_is_json_with_and_without_the_option(run: Run) -> None:
    assert run("config", "schema", "--json").stdout == run("config", "schema").stdout


def test_the_schema_is_valid(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")


def test_a_valid_file_has_no_errors(schema: dict[str, Any]) -> None:
    assert errors(schema, CONFIGURATION) == []


def test_every_setting_of_relay_and_its_plug_ins_is_described(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == set(Settings.model_fields)
    for table, group in (("sources", "handlers"), ("targets", "targets"), ("channels", "channels")):
        for kind in known(group):
            described = schema["$defs"][f"{table}.{kind}"]["properties"]
            assert set(described) == set(settings_class(group, kind).model_fields)


def test_every_default_is_valid(schema: dict[str, Any]) -> None:
    tables = [schema, *schema["$defs"].values()]
    nodes = [node for table in tables for node in table["properties"].values()]
    with_default = [node for node in nodes if "default" in node]
    assert len(with_default) > 40
    for node in with_default:
        Draft202012Validator({**node, "$defs": schema["$defs"]}).validate(node["default"])


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("public_url", "publik_url", "$"),
        ("region = ", "regoin = ", "$.sources.exports"),
        ('"slack"\n', '"slack"\nlanguage = "fr"\n', "$.channels.ops.language"),
        ("[[routes]]", "[[routes]]\non_conflict = 'no'", "$.routes[0].on_conflict"),
        ("[api]", "[delivery]\nattempts = 0\n[api]", "$.delivery.attempts"),
        ("[api]", "[delivery]\nlease = '1 day'\n[api]", "$.delivery.lease"),
        ('kind = "s3"\n', "", "$.sources.exports"),
    ],
)
def test_an_error_has_the_path_of_the_setting(
    schema: dict[str, Any], old: str, new: str, where: str
) -> None:
    assert where in errors(schema, CONFIGURATION.replace(old, new, 1))


def test_numbers_and_choices_may_be_references(schema: dict[str, Any]) -> None:
    text = CONFIGURATION.replace('kind = "slack"', 'kind = "slack"\nlanguage = "${LANGUAGE}"')
    text += '[delivery]\nattempts = "${ATTEMPTS:-3}"\n'
    assert errors(schema, text) == []


def test_a_foreign_plug_in_can_have_other_keys(schema: dict[str, Any]) -> None:
    text = CONFIGURATION.replace('kind = "slack"', 'kind = "my.chat:Channel"\nroom = 7')
    assert errors(schema, text) == []
    assert errors(schema, text.replace("room = 7", 'language = "fr"')) == [
        "$.channels.ops.language"
    ]
