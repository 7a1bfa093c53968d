"""`relay config schema`: relay.toml as a JSON Schema (draft 2020-12), for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from relay.cli.output import json_option, print_json
from relay.config.load import PLUG_INS, Settings
from relay.config.units import SchemaInWords
from relay.errors import ConfigError
from relay.model import Json
from relay.plugins import known, settings_class

_NAMES = "^[A-Za-z0-9_-]{1,100}$"
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
_BASE_MODELS = {
    "sources": "SourceSettings",
    "targets": "TargetSettings",
    "channels": "ChannelSettings",
}


@click.group("config")
def command() -> None:
    """Describe the configuration file."""


@command.command("schema")
@json_option
def print_schema(as_json: bool) -> None:
    """Print the JSON Schema of relay.toml, with the tables of every installed plug-in."""
    del as_json  # The output is always JSON; every command that prints accepts the option.
    print_json(schema())


def schema() -> Json:
    """Build the schema. A plug-in that cannot be imported is described by the common keys only."""
    root = Settings.model_json_schema(mode="validation", schema_generator=SchemaInWords)
    definitions: Json = root.pop("$defs")
    for group in PLUG_INS:
        root["properties"][group] = {
            "type": "object",
            "description": f"[{group}.NAME]: one table for each",
            "propertyNames": {"pattern": _NAMES},
            "additionalProperties": _plug_in_tables(group, definitions),
        }
    for name, definition in definitions.items():
        definitions[name] = _allow_references(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_allow_references(root),
        "title": "relay.toml",
        "$defs": definitions,
    }


def _plug_in_tables(group: str, definitions: Json) -> Json:
    kinds = []
    for kind, table in _settings_schemas(group):
        name = f"{group}.{kind}"
        table["properties"]["kind"] = {"const": kind}
        inner_definitions = table.pop("$defs", {})
        definitions |= {f"{name}.{inner}": node for inner, node in inner_definitions.items()}
        definitions[name] = {**table, "title": f"{group}: {kind}"}
        kinds.append(kind)
    base = definitions.pop(_BASE_MODELS[group])
    definitions[f"{group}.*"] = {**base, "additionalProperties": True, "title": f"{group}: other"}
    return {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"type": "string", "examples": kinds}},
        "allOf": [
            {
                "if": {"required": ["kind"], "properties": {"kind": {"const": kind}}},
                "then": {"$ref": f"#/$defs/{group}.{kind}"},
            }
            for kind in kinds
        ]
        + [
            {
                "if": {"properties": {"kind": {"not": {"enum": kinds}}}},
                "then": {"$ref": f"#/$defs/{group}.*"},
            }
        ],
    }


def _settings_schemas(group: str) -> Iterator[tuple[str, Json]]:
    for kind in known(PLUG_INS[group]):
        try:
            model = settings_class(PLUG_INS[group], kind)
        except ConfigError:
            continue
        template = f"#/$defs/{group}.{kind}.{{model}}"
        yield (
            kind,
            model.model_json_schema(
                mode="validation", ref_template=template, schema_generator=SchemaInWords
            ),
        )


def _allow_references(node: Json) -> Json:
    """Accept "${NAME}" for numbers and choices; the loader checks the expanded value."""
    if not node.get("properties"):
        return node
    properties = {name: _or_reference(value) for name, value in node["properties"].items()}
    return {**node, "properties": properties}


def _or_reference(node: Any) -> Any:
    closed = "enum" in node or node.get("type") in ("integer", "number", "boolean")
    if not closed or "const" in node:
        return node
    annotations = {key: node[key] for key in ("title", "description", "default") if key in node}
    constraints = {key: value for key, value in node.items() if key not in annotations}
    return {**annotations, "anyOf": [constraints, _REFERENCE]}
