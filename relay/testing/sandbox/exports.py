"""Creates FunctionGraph exports (a zip with a code zip and a YAML) for the demo and the tests.

Layout: Huawei Cloud FunctionGraph user guide, exporting functions (`<CodeFileName>` beside
`<function>.yaml`, flat, stored).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import yaml

CODE_FILE = "index.zip"
PADDING = "padding.bin"
HELLO = {
    "index.py": b"""\
def handler(event, context):
    return {"statusCode": 200, "body": "hello"}
"""
}

_BLOCK = 1024 * 1024
_TIMESTAMP = (2026, 1, 1, 0, 0, 0)


def make_export(
    function: str = "hello",
    *,
    code: Mapping[str, bytes] | None = None,
    code_size: int | None = None,
    **properties: Any,
) -> bytes:
    """Return an export; the same arguments give the same bytes.

    `code` are the files of the code zip, `code_size` adds an incompressible file of that size, and
    `properties` override Properties in the YAML.
    """
    file = io.BytesIO()
    write_export(file, function, code=code, code_size=code_size, **properties)
    return file.getvalue()


def write_export(
    target: Path | IO[bytes],
    function: str = "hello",
    *,
    code: Mapping[str, bytes] | None = None,
    code_size: int | None = None,
    **properties: Any,
) -> None:
    """Write an export of any size to a file."""
    files = {name: iter([content]) for name, content in (code or HELLO).items()}
    if code_size is not None:
        files[PADDING] = _noise(code_size)
    with zipfile.ZipFile(target, "w") as export:
        with export.open(_entry(CODE_FILE), "w") as inner, zipfile.ZipFile(inner, "w") as zipped:
            for name, content in files.items():
                method = zipfile.ZIP_STORED if name == PADDING else zipfile.ZIP_DEFLATED
                with zipped.open(_entry(name, method), "w") as out:
                    out.writelines(content)
        export.writestr(_entry(f"{function}.yaml"), _yaml(function, properties))


def export_name(function: str, code: bytes) -> str:
    """Return the file name that the console gives an export: function, MD5 of the code, .zip."""
    return f"{function}{hashlib.md5(code, usedforsecurity=False).hexdigest()}.zip"


def _noise(size: int) -> Iterator[bytes]:
    """Yield reproducible pseudo-random bytes."""
    for start in range(0, size, _BLOCK):
        seed = hashlib.shake_128(start.to_bytes(8, "big"))
        yield seed.digest(min(_BLOCK, size - start))


def _entry(name: str, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _TIMESTAMP)
    entry.compress_type = method
    return entry


def _yaml(function: str, properties: Mapping[str, Any]) -> str:
    all_properties = {
        "Handler": "index.handler",
        "Runtime": "Python3.9",
        "CodeType": "zip",
        "CodeFileName": CODE_FILE,
        "DependencyPkg": "",
        "Description": "",
        "MemorySize": 128,
        "Timeout": 3,
        "Version": "latest",
        "Environment": {"Variables": {}},
        **properties,
    }
    resource = {"Type": "HC::Serverless::Function", "Properties": all_properties}
    document = {"HcCrmTemplateVersion": "v1", "Resources": {function: resource}}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
