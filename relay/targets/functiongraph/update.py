"""Updates an existing function: the code, then the configuration, each only if it differs.

Everything that is known to be refused is checked before the code is sent. Wire formats:
ShowFunctionConfig, UpdateFunctionCode and UpdateFunctionConfig.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from relay.archive.export import Export
from relay.errors import OutcomeUnknown, PermanentFailure, RelayError, TemporaryFailure
from relay.intents import ChangeCall
from relay.model import Json, Localized
from relay.outbound.responses import without_nothing_changed
from relay.targets.changes import Change
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
    unknown_fields,
)
from relay.targets.functiongraph.confirmation import (
    CODE,
    CONFIGURATION,
    digest_of_new_code,
    not_shown,
    shows_new_code,
    state,
)

_SHOWN = ("runtime", "version", "code_size", "last_modified", "request_id")

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
        self._is_unconfirmed = False

    def compare(self) -> Differences:
        """Return what an update would change in the configuration."""
        try:
            wanted = WantedConfiguration.of(self._export, self._options)
        except PermanentFailure as refusal:
            return Differences(refusal=refusal)
        current = self._read_configuration()
        fields, hidden = wanted.differences(current), wanted.not_compared(current)
        if not fields:
            return Differences(not_applied=wanted.not_applied, not_compared=hidden)
        differences = Differences(fields, wanted.not_applied, unknown_fields(current), hidden)
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
                is_unknown = self._is_unconfirmed or isinstance(error, OutcomeUnknown)
                error.message = _half_done(error.message, is_unknown=is_unknown)
            if self.effect or self._is_unconfirmed:
                error.hint = without_nothing_changed(error.hint)
            raise

    def _run(self, changes: ChangeGuard, progress: Progress) -> Json:
        existing = self._existing
        wanted = WantedConfiguration.of(self._export, self._options)
        current = self._read_configuration()
        if wanted.differences(current):
            wanted.request(existing.func_name, current)
        details: Json = {}
        if str(current.get("digest")).lower() not in self._digests():
            current, details["digest"] = self._send_code(current, changes, progress)
        current, more = self._send_configuration(wanted, current, changes)
        return {
            **{name: current.get(name) for name in _SHOWN},
            **details,
            **more,
            "func_urn": existing.urn,
            "effect": list(self.effect),
            "not_applied": list(wanted.not_applied),
        }

    def _digests(self) -> set[str]:
        """The digests, in lower case, that the target may report for the archive's code."""
        return {
            digest.lower()
            for digest in (self._archive.code_digest(), self._options.known_digest)
            if digest
        }

    def _send_code(
        self, before: Json, changes: ChangeGuard, progress: Progress
    ) -> tuple[Json, str | None]:
        """Return the configuration afterwards, and the digest that the target then reports."""
        change = changes.change(
            ChangeCall.UPDATE_CODE,
            self._function,
            CodeBody(_code_fields(self._export), self._archive, self._code_size, progress),
            digest=self._archive.code_digest,
            size=self._code_size,
        )
        answer, after = self._call("code", change)
        ours = self._digests()
        if not shows_new_code(before, answer, after, ours):
            raise not_shown(self._existing.func_name, answer["request_id"], CODE)
        self._confirm(change, "code")
        return after, digest_of_new_code(before, answer, after, ours)

    def _send_configuration(
        self, wanted: WantedConfiguration, current: Json, changes: ChangeGuard
    ) -> tuple[Json, Json]:
        """Return the configuration afterwards, and what the result says about the change."""
        for _ in range(MAX_STARTS):
            differences, hidden = wanted.differences(current), wanted.not_compared(current)
            if not differences:
                return current, {"warnings": [_not_compared(hidden, _NOT_SENT)]} if hidden else {}
            body = JsonBody(wanted.request(self._existing.func_name, current))
            latest = self._read_configuration()
            if state(latest) == state(current):
                unknown = unknown_fields(current)
                after = self._put_configuration(current, body, changes)
                return after, {
                    "differences": [difference.to_json() for difference in differences],
                    "unknown_fields": list(unknown),
                    "warnings": [
                        *(_unknown_field(name) for name in unknown),
                        *([_not_compared(hidden, _SENT)] if hidden else []),
                        *_read_back_differently(wanted, after),
                    ],
                }
            current = latest
        raise _keeps_changing(self._existing.func_name)

    def _put_configuration(self, before: Json, body: JsonBody, changes: ChangeGuard) -> Json:
        change = changes.change(
            ChangeCall.UPDATE_CONFIGURATION, self._function, body, digest=body.digest
        )
        answer, after = self._call("config", change)
        if state(before) == state(after):
            raise not_shown(self._existing.func_name, answer["request_id"], CONFIGURATION)
        self._confirm(change, "configuration")
        return after

    def _call(self, part: str, change: Change) -> tuple[Json, Json]:
        """Return the response, which names the function, and the configuration afterwards."""
        path = f"/functions/{quote(self._existing.urn, safe='')}/{part}"
        answer = self._client.call("PUT", path, change=change)
        self._is_unconfirmed = True
        self._client.check_change(answer, self._function)
        return answer, {**self._read_configuration(), "request_id": answer["request_id"]}

    def _confirm(self, change: Change, part: str) -> None:
        change.applied()
        self._is_unconfirmed = False
        self.effect.append(part)

    def _read_configuration(self) -> Json:
        return self._client.configuration(self._function, self._existing.urn)


def _half_done(message: Localized, *, is_unknown: bool) -> Localized:
    """Return the message of an error after the code was updated."""
    if is_unknown:
        return Localized(
            f"The code was updated, the configuration may have been: {message.en}",
            f"代码已更新，配置可能已更新：{message.zh}",
        )
    return Localized(
        f"The code was updated, the configuration was not: {message.en}",
        f"代码已更新，配置未更新：{message.zh}",
    )


def _code_fields(export: Export) -> dict[str, str]:
    # CodeType describes how the code was first written ("inline" also for zips edited in the
    # console), so the type is derived from the file name.
    name = str(export.properties.get("CodeFileName") or "index.zip")
    code_type = {"zip": "zip", "jar": "jar"}.get(name.rpartition(".")[2].lower(), "inline")
    return {"code_type": code_type, "code_filename": name}


_SENT = Localized("it was sent together with the other changes", "已随其他更改一并发送")
_NOT_SENT = Localized(
    "it is sent only together with another change", "仅在有其他更改时才会一并发送"
)


def _not_compared(names: tuple[str, ...], consequence: Localized) -> Json:
    shown = ", ".join(names)
    words = Localized(
        f"FunctionGraph does not show the value of {shown}, so it was not compared;"
        f" {consequence.en}",
        f"FunctionGraph 不显示 {shown} 的值，因此未作比较；{consequence.zh}",
    )
    return {
        "code": "functiongraph.config_not_compared",
        "message": words._asdict(),
        "where": None,
    }


def _read_back_differently(wanted: WantedConfiguration, after: Json) -> Iterator[Json]:
    """Yield a warning if the target shows other values than those that were sent."""
    names = {difference.field for difference in wanted.differences(after)}
    if names:
        yield {
            "code": "functiongraph.config_differs",
            "message": "After the update, FunctionGraph shows other values than those of the export"
            f" for: {', '.join(sorted(names))}",
            "where": None,
        }


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
