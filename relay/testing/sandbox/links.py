"""Signed links to files of the sandbox: what `GET .../code` and exports point to."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from relay.testing.sandbox.answers import SandboxReply, refusal
from relay.testing.sandbox.package import CHUNK, write_package
from relay.testing.sandbox.state import Files, Function


@dataclass
class Links:
    """`url` makes a URL of a link's key."""

    files: Files
    url: Callable[[str], str]
    _paths: dict[str, Path] = field(default_factory=dict)

    def publish(self, path: Path) -> str:
        """A URL that reads the file; whoever knows it may."""
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
        """`file_name` and `code_url` of the code file, the YAML, or the package of both.

        Named as exports are: the function's name, then the file's MD5.
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
