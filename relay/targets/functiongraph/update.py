"""Updates an existing function: the code, then the configuration, each only if it differs.

Everything that is known to be refused is checked before the code is sent. Wire formats:
ShowFunctionConfig, UpdateFunctionCode and UpdateFunctionConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from relay.archive.export import Export
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.intents import ChangeCall
from relay.model import Json, Localized
from relay.targets.contract import (
    Archive,
    ChangeGuard,
    Differences,
    ExistingFunction,
    FunctionName,
    Progress,
    UpdateOptions,
)
from relay.targets.functiongraph.body import CodeBody, JsonBody
from relay.targets.functiongraph.client import FunctionGraphClient
from relay.targets.functiongraph.configuration import (
    WantedConfiguration,
    kept_fields,
    unknown_fields,
)
from relay.targets.other_function import OtherFunction

MAX_STARTS = 3
"""Times that an update of the configuration starts over because another user changes it."""


class FunctionUpdate:
    """The update of a function to an archive. `effect` lists what was changed so far."""

    def __init__(
        self,
        client: FunctionGraphClient,
        existing: ExistingFunction,
        archive: Archive,
        options: UpdateOptions,
    ) -> None:
        """Raise PermanentFailure if the archive is no export."""
        export = archive.report.export
        if export is None or export.code is None:
            raise _not_an_export()
        self.effect: list[str] = []
        self._client = client
        self._existing = existing
        self._function = FunctionName(existing.func_name, existing.package)
        self._archive = archive
        self._export = export
        self._code_size = export.code.size
        self._options = options
        self._path = f"/functions/{quote(existing.urn, safe='')}"

    def compare(self) -> Differences:
        """Return what an update would change in the configuration."""
        try:
            wanted = WantedConfiguration.of(self._export, self._options)
        except PermanentFailure as refusal:
            return Differences(refusal=refusal)
        current = self._read_configuration()
        fields = wanted.differences(current)
        if not fields:
            return Differences(not_applied=wanted.not_applied)
        differences = Differences(fields, wanted.not_applied, unknown_fields(current))
        try:
            wanted.request(self._existing.func_name, current)
        except PermanentFailure as refusal:
            return replace(differences, refusal=refusal)
        return differences

    def run(self, changes: ChangeGuard, progress: Progress) -> Json:
        """Update the function and return the fields of the response.

        An error has the `effect` so far, and its message says so.
        """
        try:
            return self._run(changes, progress)
        except RelayError as error:
            error.effect = tuple(self.effect)
            if self.effect:
                error.message = Localized(
                    f"The code was updated, the configuration was not: {error.message.en}",
                    f"代码已更新，配置未更新：{error.message.zh}",
                )
            raise

    def _run(self, changes: ChangeGuard, progress: Progress) -> Json:
        existing = self._existing
        wanted = WantedConfiguration.of(self._export, self._options)
        current = self._read_configuration()
        if wanted.differences(current):
            wanted.request(existing.func_name, current)
        digest = str(current.get("digest") or existing.digest or "")
        result: Json = {
            "func_urn": existing.urn,
            "digest": digest,
            "code_size": current.get("code_size"),
            "runtime": current.get("runtime"),
        }
        known = {self._archive.code_digest().lower(), (self._options.known_digest or "").lower()}
        if digest.lower() not in known - {""}:
            result |= self._send_code(changes, progress)
            current = self._read_configuration()
        updated, details = self._send_configuration(wanted, current, changes)
        result |= {key: value for key, value in updated.items() if value not in (None, "")}
        return {
            **result,
            **details,
            "effect": list(self.effect),
            "not_applied": list(wanted.not_applied),
        }

    def _send_code(self, changes: ChangeGuard, progress: Progress) -> Json:
        change = changes.change(
            ChangeCall.UPDATE_CODE,
            self._function,
            CodeBody(_code_fields(self._export), self._archive, self._code_size, progress),
            digest=self._archive.code_digest,
            size=self._code_size,
        )
        response = self._client.call("PUT", f"{self._path}/code", change=change)
        self._require_same_function(response)
        change.applied()
        self.effect.append("code")
        return response

    def _send_configuration(
        self, wanted: WantedConfiguration, current: Json, changes: ChangeGuard
    ) -> tuple[Mapping[str, Any], Json]:
        """Return the response, or {} if nothing differs, and what the result says about it."""
        for _ in range(MAX_STARTS):
            differences = wanted.differences(current)
            if not differences:
                return {}, {}
            body = JsonBody(wanted.request(self._existing.func_name, current))
            latest = self._read_configuration()
            if _state(latest) == _state(current):
                unknown = unknown_fields(current)
                return self._put_configuration(body, changes), {
                    "differences": [difference.to_json() for difference in differences],
                    "unknown_fields": list(unknown),
                    "warnings": [_unknown_field(name) for name in unknown],
                }
            current = latest
        raise _keeps_changing(self._existing.func_name)

    def _put_configuration(self, body: JsonBody, changes: ChangeGuard) -> Json:
        change = changes.change(
            ChangeCall.UPDATE_CONFIGURATION, self._function, body, digest=body.digest
        )
        response = self._client.call("PUT", f"{self._path}/config", change=change)
        self._require_same_function(response)
        change.applied()
        self.effect.append("configuration")
        return response

    def _require_same_function(self, response: Json) -> None:
        """Raise OtherFunction if the response describes another function."""
        asked = self._function
        named = FunctionName(
            str(response.get("func_name") or asked.func_name),
            str(response.get("package") or asked.package),
        )
        if named != asked:
            size, digest = response.get("code_size"), response.get("digest")
            raise OtherFunction(asked, named, size, digest)

    def _read_configuration(self) -> Json:
        return self._client.call("GET", f"{self._path}/config")


def _state(configuration: Mapping[str, Any]) -> tuple[Any, Json]:
    # The time has a resolution of seconds, so the settings are compared as well.
    return configuration.get("last_modified"), kept_fields(configuration)


def _code_fields(export: Export) -> dict[str, str]:
    # CodeType describes how the code was first written ("inline" also for zips edited in the
    # console), so the type is derived from the file name.
    name = str(export.properties.get("CodeFileName") or "index.zip")
    code_type = {"zip": "zip", "jar": "jar"}.get(name.rpartition(".")[2].lower(), "inline")
    return {"code_type": code_type, "code_filename": name}


def _unknown_field(name: str) -> Json:
    return {
        "code": "functiongraph.config_unknown",
        "message": f"Relay does not know the setting {name} of the function: the update of the"
        " configuration may have reset it",
        "where": None,
    }


def _keeps_changing(func_name: str) -> TemporaryFailure:
    return TemporaryFailure(
        "functiongraph.config_changing",
        Localized(
            f"The configuration of {func_name} keeps changing while Relay updates it",
            f"Relay 更新函数 {func_name} 的配置时，该配置一直在变化",
        ),
        Localized(
            "Another user is changing the function; Relay retries later.",
            "有其他人正在修改该函数，Relay 稍后会重试。",
        ),
    )


def _not_an_export() -> PermanentFailure:
    return PermanentFailure(
        "functiongraph.no_export",
        Localized(
            "The zip is not a FunctionGraph export and has no code for an update",
            "该 zip 不是 FunctionGraph 导出包，没有可用于更新的代码",
        ),
        Localized("Export the function again.", "请重新导出该函数。"),
    )
