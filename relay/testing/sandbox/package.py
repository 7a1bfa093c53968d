"""Opens an export package as the import does: one YAML, one function in it, its code file beside.

Inferred, since the pages name the codes but not every rule: no YAML at all is FSS.1022 like two
are; a body that is no readable zip is FSS.1011; FSS.1057 means that `Resources` names no function
(the console lets people choose another name than the YAML's, so names may differ, unless the
sandbox is told that they must match).
"""

from __future__ import annotations

import hashlib
import json
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
from relay.testing.sandbox.answers import refusal
from relay.testing.sandbox.rules import CODE_TYPES, check_configuration

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_YAML = 1 << 20
MAX_UNPACKED = 1500 * 10**6
CHUNK = 1 << 18

_BROKEN = (
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
    """A code file on disk. `digest`: SHA-512 (hex) of its bytes; `size` in bytes."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """What an export package holds; `config` in the API's field names."""

    function: str
    config: Json
    code_type: str
    code_filename: str
    code: Code


def unpack(package: Path, code_path: Path) -> Package:
    """Reads the package and writes its code file to `code_path`. Raises Refused."""
    with _opened(package) as archive:
        names = [one for one in archive.namelist() if one.lower().endswith((".yaml", ".yml"))]
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
            raise refusal("FSS.1025", "Invalid YAML file: CodeFileName names no file of the zip")
        with archive.open(filename) as file:
            code = store_code(file, code_path)
    return Package(function, config, str(code_type), filename, code)


@contextmanager
def _opened(package: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(package) as archive:
            yield archive
    except _BROKEN as error:
        raise refusal("FSS.1011", "Invalid function code: not a readable zip") from error


def read_yaml(text: bytes) -> tuple[str, Json]:
    """The function's name and its Properties. Raises FSS.1025, or FSS.1057 without a function."""
    try:
        document = yaml.load(text, _LOADER) if len(text) <= MAX_YAML else None  # noqa: S506 - a safe one
    except (yaml.YAMLError, RecursionError, ValueError):
        document = None
    if not isinstance(document, dict) or document.get("HcCrmTemplateVersion") != "v1":
        raise refusal("FSS.1025")
    resources = document.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise refusal("FSS.1057")
    function, described = next(iter(resources.items()))
    properties = described.get("Properties") if isinstance(described, dict) else None
    if (
        len(resources) != 1
        or not isinstance(function, str)
        or not isinstance(properties, dict)
        or described.get("Type") != "HC::Serverless::Function"
    ):
        raise refusal("FSS.1025")
    return function, properties


def configuration(properties: Json) -> Json:
    """The YAML's Properties in the field names of the API."""
    environment = properties.get("Environment")
    variables: Any = environment.get("Variables") if isinstance(environment, dict) else None
    return {
        "runtime": properties.get("Runtime"),
        "handler": properties.get("Handler"),
        "memory_size": properties.get("MemorySize"),
        "timeout": properties.get("Timeout"),
        "description": properties.get("Description") or "",
        "user_data": json.dumps(variables, default=str) if variables else "",
    }


def store_code(file: Any, path: Path) -> Code:
    """Copies `file` to `path`, digesting it. Raises FSS.1201 for more than 1500 MB."""
    digest, size = hashlib.sha512(), 0
    with path.open("wb") as target:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            if size > MAX_UNPACKED:
                raise refusal("FSS.1201")
            digest.update(chunk)
            target.write(chunk)
    return Code(path, digest.hexdigest(), size)


def digest_of(path: Path) -> Code:
    """The code file that is there already."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha512")
    return Code(path, found.hexdigest(), path.stat().st_size)


def write_package(target: BinaryIO, function: str, properties: Json, code: Path) -> None:
    """The inverse of unpack: the YAML and the code file, as an export holds them."""
    described = {"Type": "HC::Serverless::Function", "Properties": properties}
    document = {"HcCrmTemplateVersion": "v1", "Resources": {function: described}}
    with zipfile.ZipFile(target, "w") as archive:
        archive.write(code, properties["CodeFileName"])
        archive.writestr(f"{function}.yaml", yaml.safe_dump(document, sort_keys=False))
