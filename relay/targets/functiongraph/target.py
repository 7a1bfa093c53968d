"""The FunctionGraph target: imports, queries and updates functions through the API.

Wire formats: the FunctionGraph API reference (ImportFunction, ShowFunctionConfig, ListFunctions,
UpdateFunctionCode, UpdateFunctionConfig, ShowQuotas).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from relay.archive.inspect import ArchiveReport
from relay.errors import PermanentFailure
from relay.intents import ChangeCall
from relay.model import Json, Localized, utc_now
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import Clock
from relay.targets import contract
from relay.targets.contract import (
    NO_DIFFERENCES,
    NO_OPTIONS,
    Archive,
    ChangeGuard,
    Differences,
    ExistingFunction,
    FunctionName,
    ImportResult,
    Progress,
    UpdateOptions,
)
from relay.targets.functiongraph.body import ImportBody, JsonBody
from relay.targets.functiongraph.client import FunctionGraphClient
from relay.targets.functiongraph.configuration import kept_fields
from relay.targets.functiongraph.error_hints import HINTS
from relay.targets.functiongraph.errors import ApiResponse, malformed_response
from relay.targets.functiongraph.named import (
    code_size,
    describe_name,
    named_function,
    named_package,
)
from relay.targets.functiongraph.response import read_import_response
from relay.targets.functiongraph.settings import FunctionGraphSettings
from relay.targets.functiongraph.update import FunctionUpdate

FUNC_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?")
PACKAGE = re.compile(r"[A-Za-z0-9_]{1,60}")
_RESULT_FIELDS = (
    "func_urn",
    "runtime",
    "version",
    "digest",
    "code_size",
    "last_modified",
    "request_id",
    *("answer", "effect", "differences", "not_applied", "unknown_fields", "warnings"),
)


class Target(contract.Target):
    """A FunctionGraph project in a region."""

    Settings = FunctionGraphSettings
    settings: FunctionGraphSettings

    def __init__(
        self,
        name: str,
        settings: FunctionGraphSettings,
        outbound: HttpClientFactory,
        *,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(name, settings, outbound)
        self._client = FunctionGraphClient(settings, outbound, clock)

    def check(self, function: FunctionName, report: ArchiveReport) -> None:
        if not FUNC_NAME.fullmatch(function.func_name):
            raise _invalid_name("func_name", function.func_name, HINTS["FSS.1002"])
        if not PACKAGE.fullmatch(function.package):
            raise _invalid_name("package", function.package, HINTS["FSS.1004"])
        if report.size > self.settings.max_size:
            limit = self.settings.max_size
            raise PermanentFailure(
                "functiongraph.too_large",
                Localized(
                    f"The archive has {report.size:,} bytes; the limit is {limit:,}",
                    f"压缩包为 {report.size:,} 字节，上限为 {limit:,} 字节",
                ),
                Localized(
                    f"Reduce its size, or raise targets.{self.name}.max_size if FunctionGraph"
                    " allows more.",
                    f"请减小压缩包；若 FunctionGraph 已支持更大的包，请调高"
                    f" targets.{self.name}.max_size。",
                ),
            )
        self._client.credentials.check((report.size + 2) // 3 * 4)

    def held(self, function: FunctionName) -> ExistingFunction | None:
        # Function names are unique per account, so another package may hold the name.
        urn = self._urn(function)
        config = self._client.find_configuration(function, urn)
        if config is None:
            config = next(self._client.list_functions(function), None)
        return self._existing_function(config, function) if config is not None else None

    def create(
        self, function: FunctionName, archive: Archive, changes: ChangeGuard, progress: Progress
    ) -> ImportResult:
        fields = {
            "func_name": function.func_name,
            "package": function.package,
            "file_name": archive.file_name or f"{function.func_name}.zip",
            "file_type": "zip",
        }
        change = changes.change(
            ChangeCall.CREATE,
            function,
            ImportBody(fields, archive, progress),
            digest=archive.code_digest,
            size=archive.code_size,
        )
        response = self._client.call("POST", "/functions/import", change=change)
        named = named_function(response, function, self.settings.project_id)
        if named is None or not response.get("func_urn"):
            # Without a URN the response may come from a proxy, so the import is not confirmed.
            request_id = str(response["request_id"])
            unconfirmed = ApiResponse(200, "", describe_name(response), request_id)
            raise malformed_response(unconfirmed, "create")
        answer, warnings = read_import_response(response)
        return _import_result({**response, "answer": answer, "warnings": warnings}, named)

    def replace(
        self,
        existing: ExistingFunction,
        archive: Archive,
        changes: ChangeGuard,
        progress: Progress,
        options: UpdateOptions = NO_OPTIONS,
    ) -> ImportResult:
        update = FunctionUpdate(self._client, existing, archive, options)
        result = update.run(changes, progress)
        return _import_result(result, FunctionName(existing.func_name, existing.package))

    def configuration_digest(self, existing: ExistingFunction) -> str | None:
        function = FunctionName(existing.func_name, existing.package)
        current = self._client.configuration(function, existing.urn)
        return JsonBody({"func_name": existing.func_name, **kept_fields(current)}).digest()

    def differences(
        self,
        existing: ExistingFunction,
        archive: Archive,
        options: UpdateOptions = NO_OPTIONS,
    ) -> Differences:
        export = archive.report.export
        if export is None or export.code is None:
            return NO_DIFFERENCES
        return FunctionUpdate(self._client, existing, archive, options).compare()

    def ready(self) -> str:
        """Query the quotas once with each configured credential and describe the results."""
        results: list[str] = []
        quotas: Json = {}
        for description, auth in self._client.credentials.credential_options():
            quotas = self._client.call("GET", "/quotas", auth=auth)
            results.append(f"{description} accepted")
        return f"project {self.settings.project_id}: {', '.join(results)}; {_quota_usage(quotas)}"

    def close(self) -> None:
        self._client.close()

    def _urn(self, function: FunctionName) -> str:
        scope = f"{self.settings.region}:{self.settings.project_id}"
        return f"urn:fss:{scope}:function:{function.package}:{function.func_name}:latest"

    def _existing_function(self, config: Json, function: FunctionName) -> ExistingFunction:
        found = replace(function, package=named_package(config) or function.package)
        return ExistingFunction(
            urn=_unversioned(config.get("func_urn") or self._urn(found)),
            func_name=found.func_name,
            package=found.package,
            digest=str(config["digest"]) if config.get("digest") else None,
            code_size=code_size(config),
            modified=str(config["last_modified"]) if config.get("last_modified") else None,
        )


def _invalid_name(field: str, value: str, hint: Localized) -> PermanentFailure:
    return PermanentFailure(
        f"functiongraph.{field}",
        Localized(
            f"FunctionGraph does not accept {value!r} as {field}",
            f"FunctionGraph 不接受 {value!r} 作为 {field}",
        ),
        hint,
    )


def _import_result(response: Json, function: FunctionName) -> ImportResult:
    response = {**response, "code_size": code_size(response)}
    fields = {key: response[key] for key in _RESULT_FIELDS if response.get(key) not in (None, "")}
    fields["func_urn"] = _unversioned(response["func_urn"])
    return ImportResult(fields["func_urn"], function.func_name, function.package, fields)


def _unversioned(urn: Any) -> str:
    # The import API returns the URN without a version, other calls with the suffix.
    return str(urn).removesuffix(":latest")


def _quota_usage(quotas: Json) -> str:
    resources = (quotas.get("quotas") or {}).get("resources") or []
    for resource in resources:
        if "func" in str(resource.get("type")).lower():
            return f"{resource.get('used')} of {resource.get('quota')} functions used"
    return "quotas read"
