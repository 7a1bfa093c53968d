"""relay.toml as a JSON Schema (draft 2020-12), the tables of known plug-ins included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay.config.load import PLUG_INS, Settings
from relay.config.units import SchemaInWords
from relay.errors import ConfigError
from relay.model import Json
from relay.plugins import known, settings_class

_NAMES = "^[A-Za-z0-9_-]{1,100}$"
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
_BASE = {
    "sources": "SourceSettings",
    "targets": "TargetSettings",
    "channels": "ChannelSettings",
}


def schema() -> Json:
    """The schema. A plug-in whose package is not installed is described by its common keys only."""
    told = Settings.model_json_schema(mode="validation", schema_generator=SchemaInWords)
    definitions: Json = told.pop("$defs")
    for group in PLUG_INS:
        told["properties"][group] = {
            "type": "object",
            "description": f"[{group}.NAME]: one table for each",
            "propertyNames": {"pattern": _NAMES},
            "additionalProperties": _tables(group, definitions),
        }
    for name, definition in definitions.items():
        definitions[name] = _with_references(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_with_references(told),
        "title": "relay.toml",
        "$defs": definitions,
    }


def _tables(group: str, definitions: Json) -> Json:
    kinds = []
    for kind, own in _described(group):
        name = f"{group}.{kind}"
        own["properties"]["kind"] = {"const": kind}
        definitions |= {f"{name}.{inner}": one for inner, one in own.pop("$defs", {}).items()}
        definitions[name] = {**own, "title": f"{group}: {kind}"}
        kinds.append(kind)
    base = definitions.pop(_BASE[group])
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


def _described(group: str) -> Iterator[tuple[str, Json]]:
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


def _with_references(told: Json) -> Json:
    """Numbers and choices may be written as "${NAME}" too; what comes out is checked later."""
    properties = told.get("properties", {})
    return {
        **told,
        **(
            {"properties": {name: _or_reference(one) for name, one in properties.items()}}
            if properties
            else {}
        ),
    }


def _or_reference(one: Any) -> Any:
    closed = "enum" in one or one.get("type") in ("integer", "number", "boolean")
    if not closed or "const" in one:
        return one
    kept = {key: one[key] for key in ("title", "description", "default") if key in one}
    rest = {key: value for key, value in one.items() if key not in kept}
    return {**kept, "anyOf": [rest, _REFERENCE]}
