"""Download links to code files and exports."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from relay.testing.sandbox.package import CHUNK, write_package
from relay.testing.sandbox.replies import SandboxReply, refusal
from relay.testing.sandbox.state import CodeFiles, Function


@dataclass
class Links:
    """Publishes files. `url` returns the URL for the key of a link."""

    files: CodeFiles
    url: Callable[[str], str]
    _paths: dict[str, Path] = field(default_factory=dict)

    def publish(self, path: Path) -> str:
        """Return a secret URL of the file, which needs no credentials."""
        key = secrets.token_urlsafe(24)
        self._paths[key] = path
        return self.url(key)

    def download(self, key: str) -> SandboxReply:
        path = self._paths.get(key)
        if path is None or not path.exists():
            raise refusal("FSS.0404")
        headers = {
            "Content-Length": str(path.stat().st_size),
            "Content-Type": "application/octet-stream",
        }
        return SandboxReply(200, None, headers, _read(path))

    def export(self, function: Function, parts: set[str]) -> SandboxReply:
        """Return `file_name` and `code_url` of the code file, the YAML, or both in a package.

        The file name of an export consists of the function name and the MD5 of the file.
        """
        path = self._write(function, parts)
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
        suffix = "zip" if "code" in parts else "yaml"
        name = f"{function.name}{md5.hexdigest()}.{suffix}"
        return SandboxReply(200, {"file_name": name, "code_url": self.publish(path)})

    def _write(self, function: Function, parts: set[str]) -> Path:
        path = self.files.new()
        properties = function.properties()
        if parts == {"code"}:
            path.hardlink_to(function.code.path)
        elif parts == {"config"}:
            path.write_text(yaml.safe_dump({function.name: properties}), "utf-8")
        else:
            with path.open("wb") as file:
                write_package(file, function.name, properties, function.code.path)
        return path


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
