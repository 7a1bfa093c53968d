"""Reads a FunctionGraph export: the YAML file and the code file that it names.

Source: Huawei Cloud FunctionGraph user guide, importing and exporting functions. The complete list
of keys is not published, so unknown keys are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.archive.directory import ZipEntry
from relay.archive.findings import Finding, Findings, printable
from relay.archive.strict_yaml import NullText, as_integer, load
from relay.errors import PermanentFailure
from relay.model import Json

TYPE = "HC::Serverless::Function"
TEMPLATE = "HcCrmTemplateVersion"

RUNTIMES = re.compile(
    r"Java(8|11|17|21)|Python(2\.7|3\.6|3\.9|3\.10|3\.12)|Go1\.x"
    r"|Node\.js(6\.10|8\.10|10\.16|12\.13|14\.18|16\.17|18\.15|20\.15)"
    r"|C#\(\.NET Core [2368]\.[01]\)|Custom( Image)?|http|PHP(7\.3|8\.3)|Cangjie(1\.0|0\.52\.3)"
)
DOTLESS_HANDLER = re.compile(r"Go1\.x|http|Custom( Image)?|Cangjie.*")
"""Runtimes whose handler may be the name of a file."""

MEMORY = frozenset((128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096))
MAX_TIMEOUT = 259_200

ReadEntry = Callable[[ZipEntry], bytes]
"""Returns the verified content of a small entry or raises PermanentFailure."""


@dataclass(frozen=True, slots=True)
class Export:
    """The FunctionGraph export in an archive.

    `function` is the key under Resources and `properties` the value of Properties: dicts, lists and
    text as written, without nulls. Under Environment.Variables every scalar is text, also `null`.
    `code` is the entry named by CodeFileName, or None if it is missing. `other_keys` are the keys
    outside Properties that a function does not need.
    """

    function: str
    properties: Json
    yaml_name: str
    code: ZipEntry | None
    other_keys: tuple[str, ...] = ()


def yaml_entries(entries: Sequence[ZipEntry]) -> list[ZipEntry]:
    """Return the entries that FunctionGraph treats as the configuration."""
    suffixes = (".yaml", ".yml")
    return [entry for entry in entries if entry.name.lower().endswith(suffixes)]


def read_export(
    entries: Sequence[ZipEntry], read: ReadEntry, yaml_limit: int
) -> tuple[Export | None, tuple[Finding, ...]]:
    """Return the export, if it can be read, and the findings about it.

    `yaml_limit` is the maximum size of the YAML. Raises the TemporaryFailure of `read`.
    """
    findings = Findings()
    candidates = yaml_entries(entries)
    if not candidates:
        findings.add("export.no_yaml")
    elif len(candidates) > 1:
        names = ", ".join(printable(entry.name) for entry in candidates[:5])
        findings.add("export.many_yaml", count=len(candidates), names=names)
    elif (size := max(candidates[0].size, candidates[0].compressed)) > yaml_limit:
        findings.add("export.yaml_size", candidates[0].name, size=size, limit=yaml_limit)
    else:
        return _parse_yaml(candidates[0], entries, read, findings), findings.collect()
    return None, findings.collect()


def _parse_yaml(
    entry: ZipEntry, entries: Sequence[ZipEntry], read: ReadEntry, findings: Findings
) -> Export | None:
    try:
        document = load(read(entry).decode("utf-8-sig"))
    except UnicodeDecodeError:
        findings.add("export.yaml_encoding", entry.name)
        return None
    except PermanentFailure as failure:
        findings.add_failure(failure, entry.name)
        return None
    resource = _find_function(document, entry.name, findings)
    if resource is None:
        return None
    function, properties = resource
    code = _find_code(properties, entries, entry.name, findings, function)
    _note_unknown_values(properties, findings)
    return Export(function, properties, entry.name, code, _other_keys(document))


def _find_function(document: Any, yaml: str, findings: Findings) -> tuple[str, Json] | None:
    """Return the name and properties of the only function; missing properties are {}."""
    if not isinstance(document, dict) or TEMPLATE not in document:
        findings.add("export.template", yaml)
        return None
    if document[TEMPLATE] != "v1":
        findings.add("export.template_version", yaml, version=_quote(document[TEMPLATE]))
    resources = document.get("Resources")
    count = len(resources) if isinstance(resources, dict) else 0
    if not isinstance(resources, dict) or count != 1:
        findings.add("export.resources", yaml, count=count)
        return None
    ((function, resource),) = resources.items()
    if not function.strip():
        findings.add("export.function_name", yaml)
        return None
    return function, _properties(function, resource, yaml, findings)


def _properties(function: str, resource: Any, yaml: str, findings: Findings) -> Json:
    resource = resource if isinstance(resource, dict) else {}
    if resource.get("Type") != TYPE:
        findings.add("export.type", yaml, function=_quote(function))
    properties = resource.get("Properties")
    if isinstance(properties, dict):
        return _without_nulls(properties)
    findings.add("export.properties", yaml, function=_quote(function))
    return {}


def _other_keys(document: Json) -> tuple[str, ...]:
    ((function, resource),) = document["Resources"].items()
    top = [key for key in document if key not in (TEMPLATE, "Resources")]
    beside = [key for key in resource if key not in ("Type", "Properties")]
    return (*top, *(f"{function}.{key}" for key in beside))


def _without_nulls(properties: Json) -> Json:
    """Drop null values: they count as absent. A variable is text, whatever it looks like."""
    present: Json = _drop_nulls(properties)
    environment = properties.get("Environment")
    if isinstance(environment, dict) and isinstance(environment.get("Variables"), dict):
        variables = {
            name: str(value) if isinstance(value, str) else value
            for name, value in environment["Variables"].items()
        }
        present["Environment"] = {**present["Environment"], "Variables": variables}
    return present


def _drop_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _drop_nulls(inner)
            for key, inner in value.items()
            if not isinstance(inner, NullText)
        }
    if isinstance(value, list):
        return [_drop_nulls(inner) for inner in value if not isinstance(inner, NullText)]
    return value


def _find_code(
    properties: Mapping[str, Any],
    entries: Sequence[ZipEntry],
    yaml: str,
    findings: Findings,
    function: str,
) -> ZipEntry | None:
    name = properties.get("CodeFileName")
    if not isinstance(name, str) or not name:
        if properties:
            findings.add("export.code_name", yaml, function=_quote(function))
        return None
    for entry in entries:
        if entry.name == name and name != yaml and not entry.is_folder:
            return entry
    findings.add("export.code_missing", name, file=_quote(name))
    return None


def _note_unknown_values(properties: Mapping[str, Any], findings: Findings) -> None:
    """Add notes on undocumented values, which newer versions of FunctionGraph may support."""
    for key, code, is_known in _KNOWN_VALUES:
        value = properties.get(key)
        if value and not is_known(value):
            findings.add(code, value=_quote(value))
    handler = properties.get("Handler")
    if handler and not is_known_handler(handler, str(properties.get("Runtime"))):
        findings.add("export.handler", value=_quote(handler))


def is_known_handler(handler: Any, runtime: str) -> bool:
    """Whether FunctionGraph documents this form of a handler, or does not document the runtime."""
    # Documented for ImportFunction: 3 to 128 characters with a dot, or "-" for images.
    if not isinstance(handler, str):
        return False
    if DOTLESS_HANDLER.fullmatch(runtime):
        return len(handler) <= 128
    is_documented = RUNTIMES.fullmatch(runtime) is not None
    return handler == "-" or not is_documented or (3 <= len(handler) <= 128 and "." in handler)


def is_known_timeout(value: Any) -> bool:
    """Whether FunctionGraph documents this timeout in seconds, a number or its text."""
    seconds = as_integer(str(value))
    return seconds is not None and 3 <= seconds <= MAX_TIMEOUT


_KNOWN_VALUES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("Runtime", "export.runtime", lambda value: bool(RUNTIMES.fullmatch(str(value)))),
    ("MemorySize", "export.memory", lambda value: as_integer(value) in MEMORY),
    ("Timeout", "export.timeout", is_known_timeout),
)


def _quote(value: Any) -> str:
    return f'"{printable(str(value)[:200])}"'
