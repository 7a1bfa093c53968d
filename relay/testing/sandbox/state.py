"""What the sandbox holds: one tenant's functions, and the calls that were made. Thread-safe."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from relay.model import Json
from relay.testing.sandbox.answers import refusal
from relay.testing.sandbox.package import Code

_EXPORTED = {
    "Handler": "handler",
    "Runtime": "runtime",
    "MemorySize": "memory_size",
    "Timeout": "timeout",
    "Description": "description",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Whose functions these are. `digest_of`: what is shown for code of that SHA-512 (hex)."""

    project_id: str
    region: str
    domain_id: str = "14ee2e3501124efcbca7998baa24sandb"
    digest_of: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Function:
    """One function as it stands. `config` in the API's field names; `revision` counts changes."""

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
        """The YAML's Properties, as an export writes them."""
        variables = json.loads(self.config.get("user_data") or "{}")
        return {
            **{name: self.config.get(ours) for name, ours in _EXPORTED.items()},
            "CodeType": self.code_type,
            "CodeFileName": self.code_filename,
            "DependencyPkg": "",
            "Version": "latest",
            "Environment": {"Variables": variables},
        }


def describe(function: Function, account: Account) -> Json:
    """The answer's fields, as import and `GET .../config` document them."""
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
        "gpu_memory": 0,
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
        "strategy_config": {"concurrency": -1},
        "enterprise_project_id": "0",
        **function.config,
    }


@dataclass(slots=True)
class RecordedCall:
    """One call as the sandbox saw it. `status` None: no answer was sent (or not yet).

    `applied`: it changed what the sandbox holds; `received`: bytes of its body, growing as they
    come in.
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
        told = {name: getattr(self, name) for name in _OF_CALL}
        return told | {"time": self.time.isoformat()}


_OF_CALL = tuple(one.name for one in fields(RecordedCall))


@dataclass
class Files:
    """A private folder for code; every file in it has a name of its own."""

    folder: Path

    def new(self) -> Path:
        return self.folder / secrets.token_hex(16)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A file's path for as long as the call lasts."""
        path = self.new()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def kept(self) -> Iterator[Path]:
        """A file's path; the file stays when all went well."""
        path = self.new()
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@dataclass
class Tenant:
    """The functions, unique by name over all packages. `quota`: how many there may be."""

    quota: int | None = None
    _functions: dict[str, Function] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def snapshot(self) -> dict[str, Function]:
        with self._guard:
            return dict(self._functions)

    def refuse_taken(self, name: str) -> None:
        """Raises FSS.1061 when there is a function of that name, in whichever package."""
        if name in self.snapshot():
            raise refusal("FSS.1061")

    def add(self, function: Function) -> None:
        """Raises FSS.1061 or FSS.1041."""
        with self._guard:
            if function.name in self._functions:
                raise refusal("FSS.1061")
            if self.quota is not None and len(self._functions) >= self.quota:
                raise refusal("FSS.1041")
            self._functions[function.name] = function

    def change(self, function: Function) -> Function:
        """Puts `function` in the place of its earlier self; FSS.1051 when that is gone."""
        with self._guard:
            before = self._functions.get(function.name)
            if before is None:
                raise refusal("FSS.1051")
            after = replace(function, revision=before.revision + 1)
            self._functions[function.name] = after
        if before.code.path != after.code.path:
            before.code.path.unlink(missing_ok=True)
        return after

    def remove(self, name: str) -> None:
        with self._guard:
            gone = self._functions.pop(name, None)
        if gone is None:
            raise refusal("FSS.1051")
        gone.code.path.unlink(missing_ok=True)


class Ledger:
    """Every call since the sandbox started, also those that go on."""

    def __init__(self) -> None:
        self._calls: list[RecordedCall] = []
        self._guard = threading.Lock()

    def add(self, call: RecordedCall) -> None:
        with self._guard:
            self._calls.append(call)

    def snapshot(self) -> list[RecordedCall]:
        with self._guard:
            return [copy(call) for call in self._calls]
