"""The FunctionGraph endpoints of the sandbox.

Wire formats: the ImportFunction, ShowFunctionConfig, ShowFunctionCode, ListFunctions,
UpdateFunctionCode, UpdateFunctionConfig, DeleteFunction, ExportFunction and ListQuotas pages.
The configuration is replaced: a field that is left out is reset.
Inferred: a concurrent import of the same user is 429 FSS.0429; `type=code` exports the code file,
`type=config` the YAML and `code=true&config=true` the package, each as `file_name` and `code_url`;
a taken name is detected before the package is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from relay.model import Json
from relay.testing.sandbox.body import Base64Sink
from relay.testing.sandbox.exchange import Exchange
from relay.testing.sandbox.package import (
    CODE_TYPES,
    SETTINGS,
    Package,
    check_configuration,
    check_names,
    read_code,
    unpack,
)
from relay.testing.sandbox.replies import SandboxReply, refusal
from relay.testing.sandbox.state import Account, CodeFiles, Function, Links, Tenant, describe

FRAME = 1 << 16
"""Maximum size of the JSON around the base64."""

_DEFAULT_CONFIG = {
    **SETTINGS,
    "runtime": "Python3.9",
    "handler": "index.handler",
    "memory_size": 128,
    "timeout": 3,
    "user_data": "{}",
}
_REQUIRED = ("func_name", "runtime", "timeout", "handler", "memory_size")


@dataclass
class FunctionGraphApi:
    """The endpoints. Each receives the exchange and the path parameters.

    `max_size` is the maximum size of a zip in bytes.
    """

    account: Account
    tenant: Tenant
    files: CodeFiles
    clock: Callable[[], datetime]
    links: Links
    max_size: int
    names_must_match: bool
    one_at_a_time: bool
    _importing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))

    def import_function(self, exchange: Exchange, project_id: str) -> SandboxReply:
        self._check_project(project_id)
        with self._import_slot(), self.files.scratch() as zip_path:
            fields = self._receive(exchange, zip_path, "file_code")
            name, package = fields.get("func_name"), fields.get("package", "default")
            check_names(name, package)
            exchange.call.function = name
            if fields.get("file_type") != "zip":
                raise refusal("FSS.1013")
            if not isinstance(fields.get("file_name"), str) or not fields["file_name"]:
                raise refusal("FSS.0400", "Invalid request parameter: file_name")
            self.tenant.refuse_taken(str(name))
            function = self._add(str(name), str(package), zip_path)
        exchange.call.applied = True
        # The documented response of the import has a URN without a version, unlike the other calls.
        return SandboxReply(200, describe(function, self.account) | {"func_urn": function.urn})

    def list_functions(self, exchange: Exchange, project_id: str) -> SandboxReply:
        self._check_project(project_id)
        query = exchange.query
        marker, size = query.get("marker", "0"), query.get("maxitems", "400")
        if not (marker.isdecimal() and size.isdecimal() and 1 <= int(size) <= 400):
            raise refusal("FSS.0400", "Invalid request parameter: marker or maxitems")
        matching = [
            function
            for _, function in sorted(self.tenant.snapshot().items())
            if query.get("func_name", function.name) == function.name
            and query.get("package_name", function.package) == function.package
        ]
        page = matching[int(marker) : int(marker) + int(size)]
        return SandboxReply(
            200,
            {
                "functions": [describe(function, self.account) for function in page],
                "next_marker": int(marker) + len(page),
                "count": len(matching),
            },
        )

    def show_config(self, exchange: Exchange, project_id: str, urn: str) -> SandboxReply:
        return SandboxReply(200, describe(self._find(exchange, project_id, urn), self.account))

    def show_code(self, exchange: Exchange, project_id: str, urn: str) -> SandboxReply:
        function = self._find(exchange, project_id, urn)
        link = self.links.publish(function.code.path)
        fields = describe(function, self.account) | {"func_code": {"file": "", "link": link}}
        return SandboxReply(200, fields)

    def update_code(self, exchange: Exchange, project_id: str, urn: str) -> SandboxReply:
        function = self._find(exchange, project_id, urn)
        with self.files.persistent() as path:
            fields = self._receive(exchange, path, "func_code.file")
            code_type, filename = _code_location(fields, function)
            function = self.tenant.change(
                replace(
                    function,
                    code_type=code_type,
                    code_filename=filename,
                    code=read_code(path),
                    modified=self.clock(),
                )
            )
        exchange.call.applied = True
        return SandboxReply(200, describe(function, self.account))

    def update_config(self, exchange: Exchange, project_id: str, urn: str) -> SandboxReply:
        function = self._find(exchange, project_id, urn)
        fields = exchange.fields()
        missing = [name for name in _REQUIRED if name not in fields]
        if missing or fields["func_name"] != function.name:
            invalid = ", ".join(missing) or "func_name"
            raise refusal("FSS.0400", f"Invalid request parameter: {invalid}")
        if fields["runtime"] != function.config["runtime"]:
            raise refusal("FSS.1005", "The runtime of a function cannot be changed")
        config = SETTINGS | {name: value for name, value in fields.items() if name in SETTINGS}
        check_configuration(config)
        function = self.tenant.change(replace(function, config=config, modified=self.clock()))
        exchange.call.applied = True
        return SandboxReply(200, describe(function, self.account))

    def delete(self, exchange: Exchange, project_id: str, urn: str) -> SandboxReply:
        function = self._find(exchange, project_id, urn)
        if urn.endswith(":latest") and urn != function.urn:
            raise refusal("FSS.0400", "The version latest cannot be deleted alone")
        self.tenant.remove(function.name)
        exchange.call.applied = True
        return SandboxReply(204)

    def export(self, exchange: Exchange, project_id: str, urn: str) -> SandboxReply:
        function = self._find(exchange, project_id, urn)
        query = exchange.query
        part = query.get("type")
        legacy_parts = {name for name in ("code", "config") if query.get(name) == "true"}
        if (part is None) is (not legacy_parts) or part not in (None, "code", "config"):
            raise refusal("FSS.0400", "Invalid request parameter: type, or else code and config")
        return self.links.export(function, {part} if part else legacy_parts)

    def quotas(self, _: Exchange, project_id: str) -> SandboxReply:
        self._check_project(project_id)
        functions = self.tenant.snapshot().values()
        used = sum(function.code_size for function in functions)
        resources = [
            {"type": "fgs_func_num", "quota": self.tenant.quota or 400, "used": len(functions)},
            {"type": "fgs_func_code_size", "quota": 20480, "used": used >> 20, "unit": "MB"},
        ]
        return SandboxReply(200, {"quotas": {"resources": resources}})

    def hold(self, name: str, package: str, code: bytes, config: Json) -> Function:
        """Add a function as if another user had created it in the console."""
        check_names(name, package)
        with self.files.persistent() as path:
            path.write_bytes(code)
            contents = Package(
                name, _DEFAULT_CONFIG | config, "inline", "index.py", read_code(path)
            )
            function = self._function(name, package, contents)
            self.tenant.add(function)
        return function

    def configure(self, name: str, config: Json) -> Function:
        """Change settings as if another user had done it in the console."""
        function = self.tenant.snapshot()[name]
        changed = replace(function, config=function.config | config, modified=self.clock())
        return self.tenant.change(changed)

    def _check_project(self, project_id: str) -> None:
        if project_id != self.account.project_id:
            raise refusal("FSS.0403", "Forbidden: the credentials belong to another project")

    def _find(self, exchange: Exchange, project_id: str, urn: str) -> Function:
        self._check_project(project_id)
        parts = urn.split(":")
        exchange.call.function = parts[6] if len(parts) > 6 else None
        function = self.tenant.snapshot().get(exchange.call.function or "")
        if function is None or ":".join(parts[:7]) != function.urn:
            raise refusal("FSS.1051")
        if parts[7:] not in ([], ["latest"]):
            raise refusal("FSS.1052")
        return function

    def _receive(self, exchange: Exchange, path: Path, sink: str) -> Json:
        """Return the fields, and write the decoded base64 of the field `sink` to `path`."""
        if exchange.body.length > self.max_size * 4 // 3 + FRAME:
            raise refusal("FSS.0413")
        with path.open("wb") as file:
            code = Base64Sink(file, self.max_size)
            fields = exchange.fields({sink: code})
        if not code.size:
            raise refusal("FSS.1012")
        return fields

    @contextmanager
    def _import_slot(self) -> Iterator[None]:
        if not self.one_at_a_time:
            yield
            return
        if not self._importing.acquire(blocking=False):
            raise refusal("FSS.0429")
        try:
            yield
        finally:
            self._importing.release()

    def _add(self, name: str, package: str, zip_path: Path) -> Function:
        with self.files.persistent() as code_path:
            contents = unpack(zip_path, code_path)
            if self.names_must_match and contents.function != name:
                raise refusal("FSS.1057")
            function = self._function(name, package, contents)
            self.tenant.add(function)
        return function

    def _function(self, name: str, package: str, contents: Package) -> Function:
        scope = f"{self.account.region}:{self.account.project_id}"
        return Function(
            name,
            package,
            f"urn:fss:{scope}:function:{package}:{name}",
            contents.config,
            contents.code_type,
            contents.code_filename,
            contents.code,
            self.clock(),
        )


def _code_location(fields: Json, function: Function) -> tuple[str, str]:
    """Return code_type and code_filename, which is optional for inline code."""
    code_type, filename = fields.get("code_type"), fields.get("code_filename")
    if code_type not in CODE_TYPES:
        raise refusal("FSS.1006", "Invalid code type (the sandbox cannot read from OBS)")
    if code_type == "inline" and not filename:
        filename = function.code_filename
    if not isinstance(filename, str) or not filename:
        raise refusal("FSS.0400", "Invalid request parameter: code_filename")
    return str(code_type), filename
