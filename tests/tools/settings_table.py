"""Writes the tables of all settings into deploy/README.md from the code: run it after a change.

tests/test_documents.py fails while they differ.
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
    sys.stdout.write(f"{PAGE.name}: {'as it was' if PAGE.read_text() == text else 'written'}\n")


def with_tables(text: str) -> str:
    """The page with everything between the two marks written anew."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{PAGE.name} has lost its marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def tables() -> str:
    """Return the tables: a row that every kind of a group has stands in the table of the group."""
    document = schema()
    definitions = document["$defs"]
    top: Node = {"properties": {}, "required": ()}
    parts = []
    for name, node in document["properties"].items():
        if "$ref" in node:
            parts += table(f"`[{name}]`", rows(resolved(node, definitions)))
        elif name not in PLUG_INS and name != "routes":
            top["properties"][name] = node
    for group in PLUG_INS:
        of_kind = {kind: rows(definitions[f"{group}.{kind}"]) for kind in kinds(definitions, group)}
        first, *others = of_kind.values()
        shared = [row for row in first if all(row in other for other in others)]
        parts += table(f"`[{group}.NAME]` of every kind", shared)
        for kind, found in of_kind.items():
            own = [row for row in found if row not in shared]
            if own:
                parts += table(f'`[{group}.NAME]` with `kind = "{kind}"`', own)
    parts += table("`[[routes]]`: first match wins", rows(definitions["Route"]))
    return "\n".join([*table("At the top", rows(top)), *parts]).strip()


def kinds(definitions: Node, group: str) -> Iterator[str]:
    for name in definitions:
        if name.startswith(f"{group}.") and name.count(".") == 1 and not name.endswith("*"):
            yield name.removeprefix(f"{group}.")


def table(title: str, found: Sequence[str]) -> Iterator[str]:
    yield from ("", f"**{title}**", "", "| key | default | what |", "|---|---|---|", *found)


def rows(node: Node) -> list[str]:
    """Return a row for each key of a table."""
    found = []
    for key, field in node["properties"].items():
        if key == "kind":
            continue
        default = "required" if key in node.get("required", ()) else shown(field.get("default"))
        what = field.get("description", "").replace("|", r"\|")
        found.append(f"| `{key}` | {default} | {what} |")
    return found


def shown(default: Any) -> str:
    """As it would be written in TOML; nothing for what is empty."""
    if default in (None, "", [], ()):
        return ""
    if isinstance(default, int) and default >= 1024:
        default = size_words(default)
    return f"`{json.dumps(default)}`"


def resolved(node: Node, definitions: Node) -> Node:
    found: Node = definitions[node["$ref"].removeprefix("#/$defs/")]
    return found


if __name__ == "__main__":
    main()
