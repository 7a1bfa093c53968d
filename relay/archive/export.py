"""The shape of a FunctionGraph export: its one YAML, and the code file that it names.

Source: Huawei Cloud FunctionGraph user guide, importing and exporting functions. Which keys today's
exports have besides the ones read here is not published: an unknown key is no finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.archive.directory import ZipEntry
from relay.archive.export_texts import SAYINGS
from relay.archive.findings import Finding, Findings, shown
from relay.archive.strict_yaml import load
from relay.errors import PermanentFailure
from relay.model import Json

TYPE = "HC::Serverless::Function"
TEMPLATE = "HcCrmTemplateVersion"

RUNTIMES = re.compile(
    r"Java(8|11|17|21)|Python(2\.7|3\.6|3\.9|3\.10|3\.12)|Go1\.x"
    r"|Node\.js(6\.10|8\.10|10\.16|12\.13|14\.18|16\.17|18\.15|20\.15)"
    r"|C#\(\.NET Core [2368]\.[01]\)|Custom( Image)?|http|PHP(7\.3|8\.3)|Cangjie(1\.0|0\.52\.3)"
)
MEMORY = frozenset((128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096))
LONGEST_TIMEOUT = 259_200

ReadEntry = Callable[[ZipEntry], bytes]
"""The whole content of a small entry, checked; PermanentFailure when it is damaged."""


@dataclass(frozen=True, slots=True)
class Export:
    """The FunctionGraph export inside an archive.

    `function` is the key under Resources, `properties` its Properties, as plain JSON values.
    `code` is the entry that CodeFileName names, None when it is not there.
    """

    function: str
    properties: Json
    yaml_name: str
    code: ZipEntry | None


def yaml_entries(entries: Sequence[ZipEntry]) -> list[ZipEntry]:
    """The entries that FunctionGraph takes for the configuration."""
    suffixes = (".yaml", ".yml")
    return [entry for entry in entries if entry.name.lower().endswith(suffixes)]


def read_export(
    entries: Sequence[ZipEntry], read: ReadEntry, yaml_limit: int
) -> tuple[Export | None, tuple[Finding, ...]]:
    """The export, as far as its shape allows, and what is wrong or odd with it.

    `yaml_limit`: bytes of YAML that are read at most. Raises TemporaryFailure from `read`.
    """
    found = Findings(SAYINGS)
    candidates = yaml_entries(entries)
    if not candidates:
        found.add("export.no_yaml")
    elif len(candidates) > 1:
        names = ", ".join(shown(entry.name) for entry in candidates[:5])
        found.add("export.many_yaml", count=len(candidates), names=names)
    elif (size := max(candidates[0].size, candidates[0].compressed)) > yaml_limit:
        found.add("export.yaml_size", candidates[0].name, size=size, limit=yaml_limit)
    else:
        return _from_yaml(candidates[0], entries, read, found), found.told()
    return None, found.told()


def _from_yaml(
    entry: ZipEntry, entries: Sequence[ZipEntry], read: ReadEntry, found: Findings
) -> Export | None:
    try:
        document = load(read(entry).decode("utf-8-sig"))
    except UnicodeDecodeError:
        found.add("export.yaml_encoding", entry.name)
        return None
    except PermanentFailure as failure:
        found.add_failure(failure, entry.name)
        return None
    named = _function(document, entry.name, found)
    if named is None:
        return None
    function, properties = named
    code = _code(properties, entries, entry.name, found, function)
    _advise(properties, found)
    return Export(function, properties, entry.name, code)


def _function(document: Any, yaml: str, found: Findings) -> tuple[str, Json] | None:
    """The only function and its properties ({} when they are missing)."""
    if not isinstance(document, dict) or TEMPLATE not in document:
        found.add("export.template", yaml)
        return None
    if document[TEMPLATE] != "v1":
        found.add("export.template_version", yaml, version=_shown(document[TEMPLATE]))
    resources = document.get("Resources")
    count = len(resources) if isinstance(resources, dict) else 0
    if not isinstance(resources, dict) or count != 1:
        found.add("export.resources", yaml, count=count)
        return None
    ((function, resource),) = resources.items()
    if not function.strip():
        found.add("export.function_name", yaml)
        return None
    return function, _properties(function, resource, yaml, found)


def _properties(function: str, resource: Any, yaml: str, found: Findings) -> Json:
    resource = resource if isinstance(resource, dict) else {}
    if resource.get("Type") != TYPE:
        found.add("export.type", yaml, function=_shown(function))
    properties = resource.get("Properties")
    if isinstance(properties, dict):
        return properties
    found.add("export.properties", yaml, function=_shown(function))
    return {}


def _code(
    properties: Mapping[str, Any],
    entries: Sequence[ZipEntry],
    yaml: str,
    found: Findings,
    function: str,
) -> ZipEntry | None:
    name = properties.get("CodeFileName")
    if not isinstance(name, str) or not name:
        if properties:
            found.add("export.code_name", yaml, function=_shown(function))
        return None
    for entry in entries:
        if entry.name == name and name != yaml and not entry.folder:
            return entry
    found.add("export.code_missing", name, file=_shown(name))
    return None


def _advise(properties: Mapping[str, Any], found: Findings) -> None:
    """Notes on values outside of the documented sets, which the cloud may have extended since."""
    for key, note, fits in _ADVICE:
        value = properties.get(key)
        if value is not None and not fits(value):
            found.add(note, value=_shown(value))


def _timeout_fits(timeout: Any) -> bool:
    return isinstance(timeout, int) and 3 <= timeout <= LONGEST_TIMEOUT


def _handler_fits(handler: Any) -> bool:
    """As ImportFunction's answer documents it: 3 to 128 characters with a dot; "-" for images."""
    if not isinstance(handler, str):
        return False
    return handler == "-" or (3 <= len(handler) <= 128 and "." in handler)


_ADVICE: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("Runtime", "export.runtime", lambda value: bool(RUNTIMES.fullmatch(str(value)))),
    ("MemorySize", "export.memory", lambda value: isinstance(value, int) and value in MEMORY),
    (
        "Timeout",
        "export.timeout",
        lambda value: isinstance(value, int) and 3 <= value <= LONGEST_TIMEOUT,
    ),
    ("Handler", "export.handler", _handler_fits),
)


def _shown(value: Any) -> str:
    return f'"{shown(str(value)[:200])}"'
