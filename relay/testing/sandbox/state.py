"""The state of the sandbox: functions of a tenant, code files, links and calls."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml
from werkzeug.wsgi import FileWrapper

from relay.model import Json
from relay.testing.sandbox.package import CHUNK, PROPERTIES, SETTINGS, Code, write_package
from relay.testing.sandbox.replies import SandboxReply, refusal


@dataclass(frozen=True, slots=True)
class Account:
    """The account. `digest_of` maps the SHA-512 (hex) of code to the reported digest."""

    project_id: str
    region: str
    domain_id: str = "14ee2e3501124efcbca7998baa24sandb"
    digest_of: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Function:
    """A function. `config` has the field names of the API; `revision` counts changes."""

    name: str
    package: str
    urn: str
    config: Json
    code_type: str
    code_filename: str
    code: Code
    modified: datetime
    revision: int = 1

    @property
    def digest(self) -> str:
        return self.code.digest

    @property
    def code_size(self) -> int:
        return self.code.size

    def properties(self) -> Json:
        """Return the Properties for the YAML of an export."""
        variables = json.loads(self.config.get("user_data") or "{}")
        changed = {
            name: self.config[field_name]
            for name, field_name in PROPERTIES.items()
            if self.config[field_name] != SETTINGS[field_name]
        }
        return {
            **changed,
            "Description": self.config["description"],
            "CodeType": self.code_type,
            "CodeFileName": self.code_filename,
            "DependencyPkg": "",
            "Version": "latest",
            "Environment": {"Variables": variables},
        }


def describe(function: Function, account: Account) -> Json:
    """Return the response fields documented for import and `GET .../config`."""
    memory = int(function.config["memory_size"])
    modified = function.modified.astimezone(UTC)
    stamp = modified.strftime("%y%m%d%H%M%S")
    digest = account.digest_of(function.digest)
    return {
        "func_urn": f"{function.urn}:latest",
        "func_name": function.name,
        "domain_id": account.domain_id,
        "namespace": account.project_id,
        "project_name": account.region,
        "package": function.package,
        "cpu": memory * 100 // 128 + 200,
        "code_type": function.code_type,
        "code_url": "",
        "code_filename": function.code_filename,
        "code_size": function.code_size,
        "digest": digest,
        "version": "latest",
        "image_name": f"latest-{stamp}@{digest[:5]}",
        "version_description": "",
        "last_modified": modified.strftime("%Y-%m-%d %H:%M:%S"),
        "status": 0,
        "depend_list": [],
        "depend_version_list": [],
        **_shown(function.config),
    }


def _shown(config: Json) -> Json:
    """Return the settings as `GET .../config` shows them: secrets masked, the log in two fields."""
    shown = {name: value for name, value in config.items() if value is not None}
    log = shown.pop("log_config", None) or {}
    return shown | {
        "encrypted_user_data": "***" if config["encrypted_user_data"] else "",
        "log_group_id": log.get("group_id", ""),
        "log_stream_id": log.get("stream_id", ""),
    }


@dataclass(slots=True)
class RecordedCall:
    """A call. `status` is None if no response was sent (yet).

    `applied` is True if the call changed the state. `received` counts the bytes of the body so far.
    """

    method: str
    path: str
    operation: str
    time: datetime
    request_id: str
    status: int | None = None
    function: str | None = None
    received: int = 0
    applied: bool = False
    finished: bool = False

    def to_json(self) -> Json:
        return asdict(self) | {"time": self.time.isoformat()}


@dataclass
class CodeFiles:
    """Creates uniquely named files for code in a private folder."""

    folder: Path

    def new(self) -> Path:
        return self.folder / secrets.token_hex(16)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield the path of a temporary file."""
        path = self.new()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def persistent(self) -> Iterator[Path]:
        """Yield the path of a file that stays unless an exception occurs."""
        path = self.new()
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@dataclass
class Tenant:
    """The functions, unique by name across packages. `quota` is the maximum number."""

    quota: int | None = None
    _functions: dict[str, Function] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def snapshot(self) -> dict[str, Function]:
        with self._lock:
            return dict(self._functions)

    def refuse_taken(self, name: str) -> None:
        """Raise FSS.1061 if a function of that name exists in any package."""
        if name in self.snapshot():
            raise refusal("FSS.1061")

    def add(self, function: Function) -> None:
        """Add a function. Raises FSS.1061 or FSS.1041."""
        with self._lock:
            if function.name in self._functions:
                raise refusal("FSS.1061")
            if self.quota is not None and len(self._functions) >= self.quota:
                raise refusal("FSS.1041")
            self._functions[function.name] = function

    def change(self, function: Function) -> Function:
        """Replace a function. Raises FSS.1051 if it does not exist any more."""
        with self._lock:
            before = self._functions.get(function.name)
            if before is None:
                raise refusal("FSS.1051")
            after = replace(function, revision=before.revision + 1)
            self._functions[function.name] = after
        if before.code.path != after.code.path:
            before.code.path.unlink(missing_ok=True)
        return after

    def remove(self, name: str) -> None:
        with self._lock:
            removed = self._functions.pop(name, None)
        if removed is None:
            raise refusal("FSS.1051")
        removed.code.path.unlink(missing_ok=True)


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
        return SandboxReply(200, None, headers, FileWrapper(path.open("rb"), CHUNK))

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
