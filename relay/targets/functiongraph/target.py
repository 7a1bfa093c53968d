"""FunctionGraph of Huawei Cloud: its ImportFunction call, and what belongs to it.

Wire formats: the FunctionGraph API reference (ImportFunction, ShowFunctionConfig, ListFunctions,
UpdateFunctionCode, UpdateFunctionConfig, ShowQuotas).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from relay.archive.inspect import ArchiveReport, Export
from relay.config.units import size_words
from relay.errors import PermanentFailure
from relay.model import Json, Localized, utc_now
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import Clock
from relay.targets.contract import Archive, ExistingFunction, FunctionName, ImportResult, Progress
from relay.targets.contract import Target as Contract
from relay.targets.functiongraph.body import CodeBody, ImportBody
from relay.targets.functiongraph.client import FunctionGraphClient, FunctionGraphRequest
from relay.targets.functiongraph.error_hints import HINTS
from relay.targets.functiongraph.errors import ApiResponse, unreadable
from relay.targets.functiongraph.settings import FunctionGraphSettings

FUNC_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?")
PACKAGE = re.compile(r"[A-Za-z0-9_]{1,60}")
PAGE = 400
PAGES = 50
"""Pages of functions looked through for a name; an account holds 400 functions by default."""

_KEPT = ("func_urn", "runtime", "version", "digest", "code_size", "last_modified", "request_id")
_REQUIRED = ("runtime", "timeout", "handler", "memory_size")
_PROPERTIES = {
    "Runtime": "runtime",
    "Timeout": "timeout",
    "Handler": "handler",
    "MemorySize": "memory_size",
    "Description": "description",
}


class Target(Contract):
    """One project of FunctionGraph in one region."""

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
        self._api = FunctionGraphClient(settings, outbound, clock)

    def check(self, order: FunctionName, report: ArchiveReport) -> None:
        """See Target.check."""
        if not FUNC_NAME.fullmatch(order.func_name):
            raise _refused("func_name", order.func_name, HINTS["FSS.1002"])
        if not PACKAGE.fullmatch(order.package):
            raise _refused("package", order.package, HINTS["FSS.1004"])
        if report.size > self.settings.max_size:
            limit = size_words(self.settings.max_size)
            raise PermanentFailure(
                "functiongraph.too_large",
                Localized(
                    f"The archive has {report.size / 2**20:.1f} MiB; the limit is {limit}",
                    f"压缩包大小为 {report.size / 2**20:.1f} MiB，上限为 {limit}",
                ),
                Localized(
                    f"Make it smaller, or raise targets.{self.name}.max_size if FunctionGraph"
                    " takes more by now.",
                    f"请减小压缩包，或在 FunctionGraph 支持时调高 targets.{self.name}.max_size。",
                ),
            )
        self._api.credentials.check((report.size + 2) // 3 * 4)

    def held(self, order: FunctionName) -> ExistingFunction | None:
        """See Target.held. Names are unique per account, so all packages are looked through."""
        urn = self._urn(order.package, order.func_name)
        found = self._api.find(
            FunctionGraphRequest("GET", f"/functions/{quote(urn, safe='')}/config")
        )
        if found is None:
            named = (one for one in self._listed(order.func_name))
            found = next((one for one in named if one.get("func_name") == order.func_name), None)
        return _held(found, order, urn) if found is not None else None

    def create(self, order: FunctionName, archive: Archive, progress: Progress) -> ImportResult:
        """See Target.create. One pass over the archive, none of it held."""
        fields = {
            "func_name": order.func_name,
            "package": order.package,
            "file_name": f"{order.func_name}.zip",
            "file_type": "zip",
        }
        body = ImportBody(fields, archive, progress)
        answer = self._api.call(FunctionGraphRequest("POST", "/functions/import", "create", body))
        if not answer.get("func_urn"):
            # What is told as a success must be one: an answer without a name is asked about.
            told = ApiResponse(200, "", "without func_urn", str(answer["request_id"]))
            raise unreadable(told, "create")
        return _landed(answer, order.func_name, order.package)

    def replace(self, held: ExistingFunction, archive: Archive, progress: Progress) -> ImportResult:
        """See Target.replace. Code that is there already is not sent again."""
        export = archive.report.export
        if export is None or export.code is None:
            raise PermanentFailure(
                "functiongraph.no_export",
                Localized(
                    "The zip is not a FunctionGraph export: there is no code in it to update with",
                    "该 zip 不是 FunctionGraph 导出包，其中没有可用于更新的代码",
                ),
                Localized("Export the function again.", "请重新导出该函数。"),
            )
        path = f"/functions/{quote(held.urn, safe='')}"
        answer: Json = {"func_urn": held.urn, "digest": held.digest, "code_size": held.code_size}
        if (held.digest or "").lower() != archive.code_digest().lower():
            body = CodeBody(_code_fields(export), archive, export.code.size, progress)
            answer |= self._api.call(FunctionGraphRequest("PUT", f"{path}/code", "replace", body))
        settings = self._configuration(held, export, path)
        if settings:
            told = json.dumps(settings).encode()
            configured = self._api.call(
                FunctionGraphRequest("PUT", f"{path}/config", "replace", told)
            )
            answer |= {key: value for key, value in configured.items() if value not in (None, "")}
        return _landed(answer, held.func_name, held.package)

    def ready(self) -> str:
        """Asks for the quotas, once by each configured way; what was seen. Errors as for `held`."""
        seen: list[str] = []
        quotas: Json = {}
        for way, auth in self._api.credentials.ways():
            quotas = self._api.call(FunctionGraphRequest("GET", "/quotas"), auth)
            seen.append(f"{way} accepted")
        return f"project {self.settings.project_id}: {', '.join(seen)}; {_functions(quotas)}"

    def close(self) -> None:
        """Gives connections back."""
        self._api.close()

    def _urn(self, package: str, func_name: str) -> str:
        place = f"{self.settings.region}:{self.settings.project_id}"
        return f"urn:fss:{place}:function:{package}:{func_name}:latest"

    def _listed(self, func_name: str) -> Iterator[Json]:
        marker = "0"
        for _ in range(PAGES):
            # The filter is not documented everywhere: where it is ignored, all pages are read.
            query = {"func_name": func_name, "marker": marker, "maxitems": str(PAGE)}
            page = self._api.call(FunctionGraphRequest("GET", "/functions", query=query))
            functions = [one for one in page.get("functions") or () if isinstance(one, dict)]
            yield from functions
            marker, before = str(page.get("next_marker") or ""), marker
            if not functions or marker in ("", before):
                return

    def _configuration(self, held: ExistingFunction, export: Export, path: str) -> Json:
        wanted = {
            name: export.properties[key]
            for key, name in _PROPERTIES.items()
            if key in export.properties
        }
        environment = export.properties.get("Environment")
        if isinstance(environment, dict) and isinstance(environment.get("Variables"), dict):
            wanted["user_data"] = json.dumps(environment["Variables"])
        missing = [name for name in _REQUIRED if name not in wanted]
        if wanted and missing:
            now = self._api.call(FunctionGraphRequest("GET", f"{path}/config"))
            wanted |= {name: now[name] for name in missing if name in now}
        return {"func_name": held.func_name, **wanted} if wanted else {}


def _code_fields(export: Export) -> dict[str, str]:
    # An export's CodeType says how the code was written once ("inline" also for zips made in the
    # console's editor); what the file is now, its name says.
    name = str(export.properties.get("CodeFileName") or "index.zip")
    code_type = {"zip": "zip", "jar": "jar"}.get(name.rpartition(".")[2].lower(), "inline")
    return {"code_type": code_type, "code_filename": name}


def _refused(what: str, value: str, hint: Localized) -> PermanentFailure:
    return PermanentFailure(
        f"functiongraph.{what}",
        Localized(
            f"FunctionGraph does not take {value!r} as {what}",
            f"FunctionGraph 不接受 {value!r} 作为 {what}",
        ),
        hint,
    )


def _held(found: Mapping[str, Any], order: FunctionName, urn: str) -> ExistingFunction:
    return ExistingFunction(
        urn=_plain(found.get("func_urn") or urn),
        func_name=order.func_name,
        package=str(found.get("package") or order.package),
        digest=str(found["digest"]) if found.get("digest") else None,
        code_size=found["code_size"] if isinstance(found.get("code_size"), int) else None,
        modified=str(found["last_modified"]) if found.get("last_modified") else None,
    )


def _landed(answer: Json, func_name: str, package: str) -> ImportResult:
    kept = {key: answer[key] for key in _KEPT if answer.get(key) not in (None, "")}
    kept["func_urn"] = _plain(answer["func_urn"])
    return ImportResult(kept["func_urn"], func_name, package, kept)


def _plain(urn: Any) -> str:
    """The URN as we tell it: the import answers it without a version, the other calls with one."""
    return str(urn).removesuffix(":latest")


def _functions(quotas: Json) -> str:
    resources = (quotas.get("quotas") or {}).get("resources") or []
    for one in resources:
        if "func" in str(one.get("type")).lower():
            return f"{one.get('used')} of {one.get('quota')} functions used"
    return "quotas read"
