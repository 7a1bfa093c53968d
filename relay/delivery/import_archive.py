"""Imports an archive into a target under the conflict policy.

A lost response and a taken name raise the same question: what does the target hold now? If a call
of the delivery may have taken effect and the code is equal, the import has happened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from relay.delivery.changes import ImportChanges, Match, was_changed_by_call
from relay.delivery.conflict import (
    Action,
    ImportRequest,
    decide,
    name_conflict,
    other_package,
    unreadable_conflict,
)
from relay.delivery.settings_differences import skip_same_code
from relay.errors import (
    NameTaken,
    OutcomeUnknown,
    PermanentFailure,
    QuestionRefused,
    TemporaryFailure,
)
from relay.intents import Intent
from relay.model import Json, Localized, Skipped, Succeeded, warning
from relay.targets.contract import (
    Archive,
    ExistingFunction,
    FunctionName,
    ImportResult,
    Progress,
    Target,
)
from relay.targets.other_function import OtherFunction


def import_archive(
    target: Target,
    request: ImportRequest,
    archive: Archive,
    changes: ImportChanges,
    progress: Progress,
) -> Succeeded | Skipped:
    """Import the archive; the outcome is what the target holds afterwards.

    Looks the name up before uploading: a taken name costs no upload, and after a lost response it
    is known whether the name was free. Raises PermanentFailure and TemporaryFailure;
    OutcomeUnknown only if the target does not hold the archive's code after the call.
    """
    return _Import(target, request, archive, changes, progress).run()


def confirmed(intent: Intent, existing: ExistingFunction, match: Match) -> Succeeded:
    """Return the outcome of an import whose response was lost, and which the target confirmed."""
    result = _already_imported(existing).result
    if intent.what is not None and intent.what.digest:
        result["digest"] = intent.what.digest
    warnings = [_BY_SIZE] if match is Match.PROBABLY else []
    return Succeeded({**result, "effect": ["code", "configuration"], "warnings": warnings})


IS_OURS = (Match.SAME, Match.PROBABLY)

_BY_SIZE = warning(
    "outcome.by_size",
    Localized(
        "The response was lost, and the target reports another digest than the SHA-512 of the code."
        " The name was free, the size is equal, and the function was changed since: Relay takes it"
        " for this import.",
        "响应丢失，且目标报告的摘要不是代码的 SHA-512。调用前该名称可用，代码大小相同，"
        "且函数在此后有变更，因此 Relay 认定为本次导入的结果。",
    ),
)


@dataclass(frozen=True, slots=True)
class _Import:
    target: Target
    request: ImportRequest
    archive: Archive
    changes: ImportChanges
    progress: Progress

    def run(self) -> Succeeded | Skipped:
        function = self.request.function
        self.changes.is_exact = self.request.comparison.is_exact
        try:
            # While a call may have taken effect, only the target's response decides. Otherwise, a
            # refused lookup is no obstacle: a key may be allowed to import and not to list.
            look_up = self._look_up if self.changes.may_have_changed else self.target.held
            existing = look_up(function)
        except PermanentFailure:
            # It is not known whether the name is free.
            return self._create(function, "created", name_was_free=False)
        if existing is not None:
            return self._apply_policy(existing)
        return self._create(function, "created", name_was_free=True)

    def _apply_policy(self, existing: ExistingFunction) -> Succeeded | Skipped:
        policy, is_ours = self.request.on_conflict, self.changes.may_have_changed
        is_same_code = partial(self._has_our_code, existing)
        match decide(existing, policy, is_same_code, uncertain=is_ours):
            case Action.UPDATE:
                return self._replace(existing)
            case Action.RENAME:
                return self._rename()
            case Action.CONFIRM:
                return _already_imported(existing)
            case Action.SKIP:
                request, shown = self.request, described(existing)
                return skip_same_code(self.target, existing, self.archive, request.options, shown)
            case _:
                raise name_conflict(existing, policy)

    def _rename(self) -> Succeeded | Skipped:
        function = self.request.copy
        copy = self._look_up(function) if self.changes.may_have_changed else None
        if copy is not None and self._has_our_code(copy):
            return _already_imported(copy)
        return self._create(function, "renamed", name_was_free=copy is None)

    def _create(
        self, function: FunctionName, how: str, *, name_was_free: bool
    ) -> Succeeded | Skipped:
        self.changes.name_was_free = name_was_free
        try:
            result = self.target.create(function, self.archive, self.changes, self.progress)
        except NameTaken:
            return self._resolve_taken_name(function)
        except OutcomeUnknown as lost:
            return self._resolve_lost_response(function, lost)
        if other := self._other_function(function, result):
            return self._resolve_other_function(function, how, result, other)
        return self._imported(how, result)

    def _resolve_taken_name(self, function: FunctionName) -> Succeeded | Skipped:
        try:
            existing = self.target.held(function)
        except PermanentFailure as refusal:
            if self.request.on_conflict == Action.RENAME and function != self.request.copy:
                return self._rename()
            raise unreadable_conflict(function, self.request.on_conflict, refusal) from refusal
        if existing is not None and function == self.request.function:
            return self._apply_policy(existing)
        if existing is not None:  # the copy of a `rename`, whose name no other import has
            if self._has_our_code(existing):
                return _already_imported(existing)
            raise name_conflict(existing, "rename")
        raise TemporaryFailure(
            "conflict.unclear",
            Localized(
                f"The target reports that {function.func_name} exists, but a lookup does not find"
                " it",
                f"目标报告函数 {function.func_name} 已存在，但查询不到该函数",
            ),
            Localized(
                "The function may be in the middle of a change; Relay retries later.",
                "该函数可能正在变更，Relay 稍后会重试。",
            ),
        )

    def _resolve_lost_response(self, function: FunctionName, lost: OutcomeUnknown) -> Succeeded:
        """Look up whether the call took effect; otherwise raise `lost`, so that it is retried."""
        intent = self.changes.latest()
        if intent is None:
            raise lost
        existing = self._look_up(function)
        match = self.request.comparison.match(existing, intent)
        if existing is None or match not in IS_OURS:
            raise lost
        return confirmed(intent, existing, match)

    def _resolve_other_function(
        self, function: FunctionName, how: str, result: ImportResult, other: OtherFunction
    ) -> Succeeded:
        """Look up what the target holds after a response that describes another function.

        Under the name that was sent, it is ours if it has our code, or if the response has that
        name: a taken name would have been refused. Another function is ours if it has our code and
        was changed just now.
        """
        intent = self.changes.latest()
        if intent is None:
            raise other
        existing = self._look_up(function)
        comparison = self.request.comparison
        is_ours = existing is not None and (
            other.named == function or comparison.match(existing, intent) in IS_OURS
        )
        if not is_ours and other.named != function:
            existing = self._look_up(other.named)
            is_ours = (
                existing is not None
                and comparison.match(existing, intent) is Match.SAME
                and was_changed_by_call(existing, intent)
            )
        if existing is None or not is_ours:
            raise other
        outcome = self._imported(how, result)
        outcome.result.update(described(existing))
        outcome.result["digest"] = self.archive.known_digest or existing.digest
        if not other.is_expected:
            warnings = outcome.result.get("warnings", [])
            outcome.result["warnings"] = [*warnings, other.warning]
        return outcome

    def _other_function(self, function: FunctionName, result: ImportResult) -> OtherFunction | None:
        """Return an error if the response describes another function than the one sent.

        Also if its digest is not known for this code.
        """
        named = FunctionName(result.func_name, result.package)
        size, digest = result.answer.get("code_size"), str(result.answer.get("digest") or "")
        ours = self.archive.known_digest
        is_other_size = isinstance(size, int) and self.archive.code_size not in (None, size)
        is_other_digest = bool(digest and ours) and digest.lower() not in (
            ours,
            self.request.comparison.known_digest(ours or ""),
        )
        if named == function and not is_other_size and not is_other_digest:
            return None
        is_exact = self.request.comparison.is_exact
        is_expected = named == function and not (is_other_size or is_exact)
        return OtherFunction(function, named, size, digest, is_expected=is_expected)

    def _look_up(self, function: FunctionName) -> ExistingFunction | None:
        return ask(self.target, function)

    def _replace(self, existing: ExistingFunction) -> Succeeded:
        self.changes.name_was_free = False
        self.changes.digest_before = existing.digest
        warnings: list[Json] = []
        if existing.package != self.request.function.package:
            warnings.append(other_package(existing, self.request.function.package))
        try:
            result = self._update(existing)
        except OtherFunction as other:
            warnings.append(other.warning)
            result = self._update(existing)  # sends only what the target does not hold
        how = "updated" if self.changes.effect else "unchanged"
        outcome = self._imported(how, result)
        if warnings:
            outcome.result["warnings"] = [*result.answer.get("warnings", ()), *warnings]
        return outcome

    def _update(self, existing: ExistingFunction) -> ImportResult:
        options = replace(self.request.options, known_digest=self._known_digest(existing))
        return self.target.replace(existing, self.archive, self.changes, self.progress, options)

    def _known_digest(self, existing: ExistingFunction) -> str | None:
        """Return the digest that the target reports for this code, if it is known."""
        ours = self.archive.code_digest()
        if self.changes.has_applied(ours):
            return existing.digest
        return self.request.comparison.known_digest(ours)

    def _has_our_code(self, existing: ExistingFunction) -> bool:
        return self.request.is_same_code(existing, self.archive)

    def _imported(self, how: str, result: ImportResult) -> Succeeded:
        target_digest = result.answer.get("digest")
        summary = {
            "how": how,
            "func_urn": result.urn,
            "func_name": result.func_name,
            "package": result.package,
            "digest": self.archive.known_digest or target_digest or "",
            "target_digest": target_digest,
            "effect": self.changes.effect,
        }
        return Succeeded({**result.answer, **summary})


def ask(target: Target, function: FunctionName) -> ExistingFunction | None:
    """Ask the target for a function that a call may have changed.

    A refusal becomes temporary, and names the missing permission: it decides nothing.
    """
    try:
        return target.held(function)
    except PermanentFailure as refusal:
        raise QuestionRefused(
            "conflict.cannot_ask",
            Localized(
                f"Relay cannot check whether {function.func_name} was imported: "
                f"{refusal.message.en}",
                f"无法确认函数 {function.func_name} 是否已导入：{refusal.message.zh}",
            ),
            Localized(
                "Allow the credentials of the target to read functions (functiongraph:function:"
                f"getFunctionConfig and :list). {refusal.hint.en}".rstrip(),
                "请为目标的凭证授予读取函数的权限（functiongraph:function:getFunctionConfig 与"
                f" list）。{refusal.hint.zh}".rstrip(),
            ),
            answer=refusal.answer,
        ) from refusal


def _already_imported(existing: ExistingFunction) -> Succeeded:
    return Succeeded({"how": "already there", **described(existing)})


def described(existing: ExistingFunction) -> Json:
    """Return the fields of a result that describe a function."""
    return {
        "func_urn": existing.urn,
        "func_name": existing.func_name,
        "package": existing.package,
        "digest": existing.digest,
        "code_size": existing.code_size,
        "last_modified": existing.modified,
    }
