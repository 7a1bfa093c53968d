"""Reads and writes export packages (a YAML file and the code file) and validates their values.

The allowed values are those in the documentation of the import API. Inferred: a package without
YAML is FSS.1022, like a package with two; an unreadable zip is FSS.1011; FSS.1057 means that
`Resources` has no function; a handler needs a dot, except for the runtimes in NO_DOT, which have a
file as handler or no handler. Names may differ, because the console accepts another name than that
in the YAML.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from relay.model import Json
from relay.testing.sandbox.replies import refusal

FUNC_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?")
PACKAGE = re.compile(r"[A-Za-z0-9_]{1,255}")
RUNTIMES = frozenset(
    {"Java8", "Java11", "Java17", "Java21", "Python2.7", "Python3.6", "Python3.9", "Python3.10"}
    | {"Python3.12", "Go1.x", "Node.js6.10", "Node.js8.10", "Node.js10.16", "Node.js12.13"}
    | {"Node.js14.18", "Node.js16.17", "Node.js18.15", "Node.js20.15", "C#(.NET Core 2.1)"}
    | {"C#(.NET Core 3.1)", "C#(.NET Core 6.0)", "C#(.NET Core 8.0)", "Custom", "PHP7.3", "PHP8.3"}
    | {"Cangjie1.0", "Cangjie0.52.3", "http", "Custom Image"}
)
NO_DOT = frozenset({"Go1.x", "Custom", "http", "Custom Image", "Cangjie1.0", "Cangjie0.52.3"})
MEMORY_SIZES = frozenset({128, *range(256, 3585, 256), 4096})
CODE_TYPES = frozenset({"inline", "zip", "jar"})

NUMBERS = frozenset(
    {"timeout", "memory_size", "gpu_memory", "initializer_timeout", "pre_stop_timeout"}
    | {"ephemeral_storage", "restore_hook_timeout"}
)
SETTINGS: Json = {
    **dict.fromkeys(("runtime", "handler", "description", "user_data", "encrypted_user_data"), ""),
    **dict.fromkeys(("xrole", "app_xrole", "extend_config", "initializer_handler"), ""),
    **dict.fromkeys(("pre_stop_handler", "restore_hook_handler", "heartbeat_handler"), ""),
    **dict.fromkeys(("gpu_type", "peering_cidr", "domain_names"), ""),
    **dict.fromkeys(NUMBERS, 0),
    **dict.fromkeys(("func_vpc", "mount_config", "custom_image", "log_config"), None),
    **dict.fromkeys(("network_controller", "lts_custom_tag"), None),
    **dict.fromkeys(("is_stateful_function", "enable_dynamic_memory", "enable_lts_log"), False),
    **dict.fromkeys(("enable_auth_in_header", "enable_class_isolation"), False),
    "user_data_encrypt_kms_key_id": "",
    "enterprise_project_id": "0",
    "strategy_config": {"concurrency": -1},
}
"""The fields that UpdateFunctionConfig sets, with the value of a field that is left out."""

PROPERTIES = {
    "".join(part.capitalize() for part in name.split("_")): name
    for name, default in SETTINGS.items()
    if isinstance(default, str | int) and name not in ("user_data", "encrypted_user_data")
}
"""Properties in the YAML and the fields of the API that have the same value."""


class _Unquoted(str):
    """A scalar without quotes: only these are numbers and booleans."""

    __slots__ = ()


class _Loader(getattr(yaml, "CBaseLoader", yaml.BaseLoader)):  # type: ignore[misc]
    """Reads every scalar as the text as written."""

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        return str(node.value) if node.style in ("'", '"') else _Unquoted(node.value)


MAX_YAML = 1 << 20
MAX_UNPACKED = 1500 * 10**6
CHUNK = 1 << 18

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Code:
    """A code file on disk. `digest` is the SHA-512 (hex) of the file."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """The contents of an export package. `config` has the field names of the API."""

    function: str
    config: Json
    code_type: str
    code_filename: str
    code: Code


def unpack(package: Path, code_path: Path) -> Package:
    """Read a package and write the code file to `code_path`. Raises RequestRefused."""
    with _open_zip(package) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".yaml", ".yml"))]
        if len(names) != 1:
            raise refusal("FSS.1022")
        with archive.open(names[0]) as file:
            function, properties = read_yaml(file.read(MAX_YAML + 1))
        config = configuration(properties)
        check_configuration(config)
        code_type = properties.get("CodeType")
        if code_type not in CODE_TYPES:
            raise refusal("FSS.1006")
        filename = properties.get("CodeFileName")
        if not isinstance(filename, str) or filename not in archive.namelist():
            raise refusal("FSS.1025", "Invalid YAML file: CodeFileName is not a file in the zip")
        with archive.open(filename) as file:
            code = store_code(file, code_path)
    return Package(function, config, str(code_type), str(filename), code)


@contextmanager
def _open_zip(package: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(package) as archive:
            yield archive
    except _ZIP_ERRORS as error:
        raise refusal("FSS.1011", "Invalid function code: not a readable zip") from error


def read_yaml(text: bytes) -> tuple[str, Json]:
    """Return the function name and Properties. Raises FSS.1025, or FSS.1057 without a function."""
    try:
        document = yaml.load(text, _Loader) if len(text) <= MAX_YAML else None  # noqa: S506 - only texts
    except (yaml.YAMLError, RecursionError, ValueError):
        document = None
    if not isinstance(document, dict) or document.get("HcCrmTemplateVersion") != "v1":
        raise refusal("FSS.1025")
    resources = document.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise refusal("FSS.1057")
    function, resource = next(iter(resources.items()))
    properties = resource.get("Properties") if isinstance(resource, dict) else None
    if (
        len(resources) != 1
        or not isinstance(function, str)
        or not isinstance(properties, dict)
        or resource.get("Type") != "HC::Serverless::Function"
    ):
        raise refusal("FSS.1025")
    return str(function), properties


def configuration(properties: Json) -> Json:
    """Convert the Properties of the YAML to the field names of the API."""
    environment = properties.get("Environment")
    variables: Any = environment.get("Variables") if isinstance(environment, dict) else None
    given = {
        field: _typed(field, properties[name])
        for name, field in PROPERTIES.items()
        if properties.get(name)
    }
    return {**SETTINGS, **given, "user_data": json.dumps(variables) if variables else ""}


def _typed(field: str, text: Any) -> Any:
    if not isinstance(text, _Unquoted):
        return text
    if isinstance(SETTINGS[field], bool) and text in ("true", "false"):
        return text == "true"
    return int(text) if field in NUMBERS and re.fullmatch(r"-?\d{1,9}", text) else str(text)


def store_code(file: Any, path: Path) -> Code:
    """Copy `file` to `path` and compute the digest. Raises FSS.1201 for more than 1500 MB."""
    digest, size = hashlib.sha512(), 0
    with path.open("wb") as target:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MAX_UNPACKED:
                raise refusal("FSS.1201")
            digest.update(chunk)
            target.write(chunk)
    return Code(path, digest.hexdigest(), size)


def read_code(path: Path) -> Code:
    """Describe an existing code file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512")
    return Code(path, digest.hexdigest(), path.stat().st_size)


def write_package(target: BinaryIO, function: str, properties: Json, code: Path) -> None:
    """Write the YAML and the code file as an export; the inverse of `unpack`."""
    resource = {"Type": "HC::Serverless::Function", "Properties": properties}
    document = {"HcCrmTemplateVersion": "v1", "Resources": {function: resource}}
    with zipfile.ZipFile(target, "w") as archive:
        archive.write(code, properties["CodeFileName"])
        archive.writestr(f"{function}.yaml", yaml.safe_dump(document, sort_keys=False))


def check_names(func_name: Any, package: Any) -> None:
    """Raise FSS.1002 or FSS.1004 for an invalid name."""
    if not isinstance(func_name, str) or not FUNC_NAME.fullmatch(func_name):
        raise refusal("FSS.1002")
    if not isinstance(package, str) or not PACKAGE.fullmatch(package):
        raise refusal("FSS.1004")


def check_configuration(config: Json) -> None:
    """Raise the error for the first field that CreateFunction would reject."""
    runtime = config.get("runtime")
    if runtime not in RUNTIMES:
        raise refusal("FSS.1005")
    if not _is_handler(config.get("handler"), str(runtime)):
        raise refusal("FSS.1003")
    memory, timeout = config.get("memory_size"), config.get("timeout")
    if not isinstance(memory, int) or memory not in MEMORY_SIZES:
        raise refusal("FSS.1007")
    if not isinstance(timeout, int) or not 3 <= timeout <= 259200:
        raise refusal("FSS.1008")
    description = config.get("description") or ""
    if not isinstance(description, str) or len(description) > 512:
        raise refusal("FSS.1019")
    _check_user_data(config.get("user_data") or "{}")


def _is_handler(handler: Any, runtime: str) -> bool:
    if not isinstance(handler, str) or not handler.isprintable():
        return False
    if runtime in NO_DOT:
        return 1 <= len(handler) <= 128
    return 3 <= len(handler) <= 128 and "." in handler


def _check_user_data(text: Any) -> None:
    try:
        variables = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise refusal("FSS.1009") from None
    if not isinstance(variables, dict):
        raise refusal("FSS.1009")
    if len(variables) > 20:
        raise refusal("FSS.1017")
    if len(text) > 4096:
        raise refusal("FSS.1018")
