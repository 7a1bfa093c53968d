"""Writes the tables of all settings into deploy/README.md. Run it after a change of a setting.

tests/test_documents.py fails if the tables differ from the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from relay.cli.config import schema
from relay.config.load import PLUG_INS
from relay.config.units import size_words

PAGE = Path(__file__).resolve().parents[2] / "deploy" / "README.md"
BEGIN, END = "<!-- settings: written by tests/tools/settings_table.py -->", "<!-- /settings -->"

Node = dict[str, Any]


def main() -> None:
    text = PAGE.read_text()
    PAGE.write_text(with_tables(text))
    sys.stdout.write(f"{PAGE.name}: {'unchanged' if PAGE.read_text() == text else 'written'}\n")


def with_tables(text: str) -> str:
    """Return the page with new tables between the two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE.name} lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def tables() -> str:
    """Return the tables. A row that all kinds of a group share is in the table of the group."""
    document = schema()
    definitions = document["$defs"]
    top: Node = {"properties": {}, "required": ()}
    parts = []
    for name, node in document["properties"].items():
        if "$ref" in node:
            parts += table(f"`[{name}]`", rows(resolve(node, definitions)))
        elif name not in PLUG_INS and name != "routes":
            top["properties"][name] = node
    for group in PLUG_INS:
        rows_by_kind = {
            kind: rows(definitions[f"{group}.{kind}"]) for kind in kinds(definitions, group)
        }
        first, *others = rows_by_kind.values()
        shared = [row for row in first if all(row in other for other in others)]
        parts += table(f"`[{group}.NAME]` of every kind", shared)
        for kind, kind_rows in rows_by_kind.items():
            own = [row for row in kind_rows if row not in shared]
            if own:
                parts += table(f'`[{group}.NAME]` with `kind = "{kind}"`', own)
    parts += table("`[[routes]]`: first match wins", rows(definitions["Route"]))
    return "\n".join([*table("At the top", rows(top)), *parts]).strip()


def kinds(definitions: Node, group: str) -> Iterator[str]:
    for name in definitions:
        if name.startswith(f"{group}.") and name.count(".") == 1 and not name.endswith("*"):
            yield name.removeprefix(f"{group}.")


def table(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield from ("", f"**{title}**", "", "| key | default | what |", "|---|---|---|", *lines)


def rows(node: Node) -> list[str]:
    """Return a row for each key of a table."""
    lines = []
    for key, field in node["properties"].items():
        if key == "kind":
            continue
        default = (
            "required" if key in node.get("required", ()) else toml_value(field.get("default"))
        )
        what = field.get("description", "").replace("|", r"\|")
        lines.append(f"| `{key}` | {default} | {what} |")
    return lines


def toml_value(default: Any) -> str:
    """Return the default as TOML, or an empty string for an empty value."""
    if default in (None, "", [], ()):
        return ""
    if isinstance(default, int) and default >= 1024:
        default = size_words(default)
    return f"`{json.dumps(default)}`"


def resolve(node: Node, definitions: Node) -> Node:
    definition: Node = definitions[node["$ref"].removeprefix("#/$defs/")]
    return definition


if __name__ == "__main__":
    main()
