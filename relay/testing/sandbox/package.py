"""Reads and writes export packages: a YAML file with a single function, and the code file.

Inferred, because the documentation has the codes but not every rule: a package without YAML is
FSS.1022, like a package with two; an unreadable zip is FSS.1011; FSS.1057 means that `Resources`
has no function. Names may differ, because the console accepts another name than that in the YAML.
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
from relay.testing.sandbox.replies import refusal
from relay.testing.sandbox.validation import CODE_TYPES, check_configuration

PROPERTIES = {
    "Handler": "handler",
    "Runtime": "runtime",
    "MemorySize": "memory_size",
    "Timeout": "timeout",
    "Description": "description",
}
"""Properties in the YAML and the fields of the API that have the same value."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
    return Package(function, config, str(code_type), filename, code)


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
        document = yaml.load(text, _LOADER) if len(text) <= MAX_YAML else None  # noqa: S506 - a safe loader
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
    return function, properties


def configuration(properties: Json) -> Json:
    """Convert the Properties of the YAML to the field names of the API."""
    environment = properties.get("Environment")
    variables: Any = environment.get("Variables") if isinstance(environment, dict) else None
    return {
        **{field: properties.get(name) for name, field in PROPERTIES.items()},
        "description": properties.get("Description") or "",
        "user_data": json.dumps(variables, default=str) if variables else "",
    }


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
