"""Imports an archive into a target under a conflict policy.

A lost response and a taken name raise the same question: what does the target hold now? If a call
of the delivery may have taken effect and the code is equal, the import has happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from relay.delivery.changes import CodeComparison, ImportChanges, Match
from relay.delivery.settings_differences import predict_skip, predict_update, skip_same_code
from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.intents import Intent
from relay.model import Json, Localized, Skipped, Succeeded
from relay.targets.contract import (
    NO_DIFFERENCES,
    NO_OPTIONS,
    Archive,
    Differences,
    ExistingFunction,
    FunctionName,
    ImportResult,
    Progress,
    Target,
    UpdateOptions,
)
from relay.targets.other_function import OtherFunction


class Action(StrEnum):
    """The effect of an import on the target."""

    CREATE = "create"
    UPDATE = "update"
    RENAME = "rename"
    """Create the function under another name; see renamed()."""
    SKIP = "skip"
    """The target already holds the same code."""
    CONFIRM = "confirm"
    """An earlier attempt of the same delivery has imported the code."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The function to import to, and what to do when the name is taken.

    `copy`: the name that `rename` creates, the same in every attempt. `options`: those of the
    update of an existing function.
    """

    function: FunctionName
    on_conflict: str
    copy: FunctionName
    comparison: CodeComparison
    options: UpdateOptions = NO_OPTIONS

    def is_same_code(self, existing: ExistingFunction, archive: Archive) -> bool:
        """Whether the existing function has the archive's code. May read the archive."""
        return existing.digest is not None and self.comparison.has_digest(
            existing, archive.code_digest()
        )


def decide(
    existing: ExistingFunction | None,
    policy: str,
    is_same_code: Callable[[], bool],
    *,
    uncertain: bool = False,
) -> Action:
    """Decide what an import does, given the function that exists under the name. Pure.

    `is_same_code` is called only where the answer matters: it may read the whole archive.
    """
    if existing is None:
        return Action.CREATE
    if policy in (Action.UPDATE, Action.RENAME):
        return Action(policy)
    if not is_same_code():
        return Action.FAIL
    if uncertain:
        return Action.CONFIRM
    return Action.SKIP if policy == "skip" else Action.FAIL


def predict(
    existing: ExistingFunction | None,
    request: ImportRequest,
    *,
    is_same: bool,
    differences: Differences = NO_DIFFERENCES,
) -> Json:
    """Predict the effect of an import now, in the form that the plan shows."""
    policy = request.on_conflict
    action = decide(existing, policy, lambda: is_same)
    if existing is None:
        return {"action": action, "func_name": request.function.func_name}
    match action:
        case Action.RENAME:
            return {"action": Action.CREATE, "func_name": request.copy.func_name}
        case Action.UPDATE:
            details = {"func_name": existing.func_name, **predict_update(differences)}
        case Action.SKIP:
            details = predict_skip(differences)
        case _:
            details = {"code": _name_conflict(existing, policy).code}
    return {"action": action, **details, "func_urn": existing.urn}


def renamed(function: FunctionName, created: datetime, identity: str) -> FunctionName:
    """Return the name for `rename`: `{function}-YYYYmmdd-HHMMSS-xxxxxx`, at most 60 characters.

    The last part derives from the whole name and from `identity`, which is that of the event and
    the route: uploads within a second, and names that are cut, get different names.
    """
    digest = hashlib.sha256(f"{function.func_name}\0{identity}".encode()).hexdigest()
    stamp = created.strftime("-%Y%m%d-%H%M%S-") + digest[:6]
    return FunctionName(function.func_name[: 60 - len(stamp)] + stamp, function.package)


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
    return Succeeded({**result, "warnings": warnings})


_BY_SIZE: Json = {
    "code": "outcome.by_size",
    "message": "The response was lost, and the target reports another digest than the SHA-512 of "
    "the code. The name was free, the size is equal, and the function was changed since: Relay "
    "takes it for this import.",
    "where": "",
}


@dataclass(frozen=True, slots=True)
class _Import:
    target: Target
    request: ImportRequest
    archive: Archive
    changes: ImportChanges
    progress: Progress

    def run(self) -> Succeeded | Skipped:
        function = self.request.function
        try:
            # While a call may have taken effect, only the target's response decides. Otherwise, a
            # refused lookup is no obstacle: a key may be allowed to import and not to list.
            look_up = self._look_up if self.changes.may_have_changed else self.target.held
            existing = look_up(function)
        except PermanentFailure:
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
                raise _name_conflict(existing, policy)

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
            self._check_response(function, result)
        except NameTaken:
            return self._resolve_taken_name(function)
        except OutcomeUnknown as lost:
            return self._resolve_lost_response(function, lost)
        return self._imported(how, result)

    def _resolve_taken_name(self, function: FunctionName) -> Succeeded | Skipped:
        existing = self.target.held(function)
        if existing is not None and function == self.request.function:
            return self._apply_policy(existing)
        if existing is not None:  # the copy of a `rename`, whose name no other import has
            if self._has_our_code(existing):
                return _already_imported(existing)
            raise _name_conflict(existing, "rename")
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
        names = [function]
        if isinstance(lost, OtherFunction) and lost.named != function:
            names.append(lost.named)
        for name in names:
            existing = self._look_up(name)
            match = self.request.comparison.match(existing, intent)
            if existing is not None and match is not Match.OTHER:
                outcome = confirmed(intent, existing, match)
                if isinstance(lost, OtherFunction):
                    outcome.result["warnings"].append(lost.warning)
                return outcome
        raise lost

    def _check_response(self, function: FunctionName, result: ImportResult) -> None:
        """Raise OutcomeUnknown if the response describes another function than the one sent."""
        named = FunctionName(result.func_name, result.package)
        size, digest = result.answer.get("code_size"), result.answer.get("digest")
        differs = [named != function]
        if self.archive.code_size is not None and isinstance(size, int):
            differs.append(size != self.archive.code_size)
        if digest and self.archive.known_digest and self.request.comparison.only_sha512:
            differs.append(str(digest).lower() != self.archive.known_digest)
        if any(differs):
            raise OtherFunction(function, named, size, digest)

    def _look_up(self, function: FunctionName) -> ExistingFunction | None:
        return ask(self.target, function)

    def _replace(self, existing: ExistingFunction) -> Succeeded:
        self.changes.name_was_free = False
        lost = None
        try:
            result = self._update(existing)
        except OtherFunction as error:
            lost = error
            result = self._update(existing)  # sends only what the target does not hold
        effect = self.changes.effect
        outcome = self._imported("updated" if effect else "unchanged", result)
        outcome.result["effect"] = effect
        if lost is not None:
            outcome.result["warnings"] = [*result.answer.get("warnings", ()), lost.warning]
        return outcome

    def _update(self, existing: ExistingFunction) -> ImportResult:
        return self.target.replace(
            existing, self.archive, self.changes, self.progress, self.request.options
        )

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
        }
        return Succeeded({**result.answer, **summary})


def ask(target: Target, function: FunctionName) -> ExistingFunction | None:
    """Ask the target for a function that a call may have changed.

    A refusal becomes temporary, and names the missing permission: it decides nothing.
    """
    try:
        return target.held(function)
    except PermanentFailure as refusal:
        raise TemporaryFailure(
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


def _name_conflict(existing: ExistingFunction, policy: str) -> PermanentFailure:
    if policy == "fail":
        return PermanentFailure(
            "conflict.taken",
            Localized(
                f"The target already holds a function {existing.func_name} "
                f"(package {existing.package})",
                f"目标已存在函数 {existing.func_name}（应用 {existing.package}）",
            ),
            Localized(
                'on_conflict is "fail". Retrigger with "update" to replace it, or delete it.',
                'on_conflict 为 "fail"。可选择 "update" 重新触发以覆盖它，或先在目标删除该函数。',
            ),
        )
    return PermanentFailure(
        "conflict.other_content",
        Localized(
            f"The target holds {existing.func_name} (package {existing.package}) with other code",
            f"目标已存在同名函数 {existing.func_name}（应用 {existing.package}），但代码不同",
        ),
        Localized(
            'on_conflict is "skip". Retrigger with "update" to replace it, "rename" to keep both.',
            'on_conflict 为 "skip"。可选择 "update" 覆盖或 "rename" 另存后重新触发。',
        ),
    )
