"""Imports an archive into a target under a conflict policy.

A lost response and a taken name raise the same question: what does the target hold now? If an
earlier attempt may have reached the target and the code is equal, the import has happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from relay.delivery.settings_differences import predict_skip, predict_update, skip_same_code
from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
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


class Action(StrEnum):
    """The effect of an import on the target."""

    CREATE = "create"
    UPDATE = "update"
    RENAME = "rename"
    """Create the function under a name with a time stamp."""
    SKIP = "skip"
    """The target already holds the same code."""
    CONFIRM = "confirm"
    """An earlier attempt of the same delivery has imported the code."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The function to import to, and what to do when the name is taken.

    `created`: when the delivery was made. `rename` derives the time stamp from it, so that every
    attempt uses the same name. `uncertain`: an earlier attempt of the delivery may have reached
    the target. `known_digest` maps the SHA-512 of a code file to the digest that the target is
    known to report for it, where the target does not report the SHA-512 itself. `options`: those
    of the update of an existing function.
    """

    function: FunctionName
    on_conflict: str
    created: datetime
    uncertain: bool = False
    known_digest: Callable[[str], str | None] = lambda _: None
    options: UpdateOptions = NO_OPTIONS

    def is_same_code(self, existing: ExistingFunction, archive: Archive) -> bool:
        """Whether the existing function has the archive's code. May read the archive."""
        if existing.digest is None:
            return False
        digest = archive.code_digest().lower()
        return bool(digest) and existing.digest.lower() in (digest, self.known_digest(digest))


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
            name = renamed(request.function, request.created).func_name
            return {"action": Action.CREATE, "func_name": name}
        case Action.UPDATE:
            details = {"func_name": existing.func_name, **predict_update(differences)}
        case Action.SKIP:
            details = predict_skip(differences)
        case _:
            details = {"code": _name_conflict(existing, policy).code}
    return {"action": action, **details, "func_urn": existing.urn}


def renamed(function: FunctionName, created: datetime) -> FunctionName:
    """The name for `rename`: `{function}-YYYYmmdd-HHMMSS`, at most 60 characters long."""
    stamp = created.strftime("-%Y%m%d-%H%M%S")
    return FunctionName(function.func_name[: 60 - len(stamp)] + stamp, function.package)


def import_archive(
    target: Target, request: ImportRequest, archive: Archive, progress: Progress
) -> Succeeded | Skipped:
    """Import the archive; the outcome is what the target holds afterwards.

    Looks the name up before uploading: a taken name costs no upload, and after a lost response it
    is known whether the name was free. Raises PermanentFailure and TemporaryFailure;
    OutcomeUnknown only if the target does not hold the archive's code after the call.
    """
    return _Import(target, request, archive, progress).run()


@dataclass(frozen=True, slots=True)
class _Import:
    target: Target
    request: ImportRequest
    archive: Archive
    progress: Progress

    def run(self) -> Succeeded | Skipped:
        function = self.request.function
        is_free = False
        try:
            # After an earlier attempt, only the target's response decides. Before the first, a
            # refused lookup is no obstacle: a key may be allowed to import and not to list.
            look_up = self._look_up if self.request.uncertain else self.target.held
            existing = look_up(function)
            is_free = existing is None
        except PermanentFailure:
            existing = None
        if existing is not None:
            return self._apply_policy(existing)
        try:
            return self._create(function, "created")
        except NameTaken:
            return self._resolve_taken_name()
        except OutcomeUnknown as lost:
            return self._resolve_lost_response(function, lost, was_free=is_free)

    def _apply_policy(self, existing: ExistingFunction) -> Succeeded | Skipped:
        policy, uncertain = self.request.on_conflict, self.request.uncertain
        is_same_code = partial(self._has_our_code, existing)
        match decide(existing, policy, is_same_code, uncertain=uncertain):
            case Action.UPDATE:
                return self._replace(existing)
            case Action.RENAME:
                return self._rename(existing)
            case Action.CONFIRM:
                return _already_imported(existing)
            case Action.SKIP:
                request, described = self.request, _described(existing)
                return skip_same_code(
                    self.target, existing, self.archive, request.options, described
                )
            case _:
                raise _name_conflict(existing, policy)

    def _rename(self, existing: ExistingFunction) -> Succeeded:
        function = renamed(self.request.function, self.request.created)
        if self.request.uncertain:
            # The copy is checked first: another sender may have created the original name with
            # the same code.
            for candidate in (self._look_up(function), existing):
                if candidate is not None and self._has_our_code(candidate):
                    return _already_imported(candidate)
        try:
            return self._create(function, "renamed")
        except NameTaken:
            copy = self.target.held(function)
            if copy is not None and self._has_our_code(copy):
                return _already_imported(copy)
            raise
        except OutcomeUnknown as lost:
            return self._resolve_lost_response(function, lost, was_free=False)

    def _resolve_taken_name(self) -> Succeeded | Skipped:
        name = self.request.function.func_name
        existing = self.target.held(self.request.function)
        if existing is not None:
            return self._apply_policy(existing)
        raise TemporaryFailure(
            "conflict.unclear",
            Localized(
                f"The target reports that {name} exists, but a lookup does not find it",
                f"目标报告函数 {name} 已存在，但查询不到该函数",
            ),
            Localized(
                "The function may be in the middle of a change; Relay retries later.",
                "该函数可能正在变更，Relay 稍后会重试。",
            ),
        )

    def _resolve_lost_response(
        self, function: FunctionName, lost: OutcomeUnknown, *, was_free: bool
    ) -> Succeeded:
        """Look up whether the call took effect; otherwise raise `lost`, so that it is retried."""
        existing = self._look_up(function)
        if existing is None:
            raise lost
        size = existing.code_size
        if was_free and size is not None and size == self.archive.code_size:
            # The name was free before our call and the code size matches, so this is our import
            # even if the target reports another kind of digest.
            return _already_imported(existing)
        if not self._has_our_code(existing):
            raise lost
        if self.request.on_conflict == Action.UPDATE and not was_free:
            # The lost response may have been a 409: the old configuration is then still in place.
            return self._replace(existing)
        return _already_imported(existing)

    def _look_up(self, function: FunctionName) -> ExistingFunction | None:
        """Look the function up; a permission error becomes temporary, since it decides nothing."""
        try:
            return self.target.held(function)
        except PermanentFailure as refusal:
            raise TemporaryFailure(
                "conflict.cannot_ask",
                Localized(
                    f"Relay cannot check whether {function.func_name} was imported: "
                    f"{refusal.message.en}",
                    f"无法确认函数 {function.func_name} 是否已导入：{refusal.message.zh}",
                ),
                refusal.hint,
                answer=refusal.answer,
            ) from refusal

    def _create(self, function: FunctionName, how: str) -> Succeeded:
        return self._imported(how, self.target.create(function, self.archive, self.progress))

    def _replace(self, existing: ExistingFunction) -> Succeeded:
        result = self.target.replace(existing, self.archive, self.progress, self.request.options)
        return self._imported("updated", result)

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


def _already_imported(existing: ExistingFunction) -> Succeeded:
    return Succeeded({"how": "already there", **_described(existing)})


def _described(existing: ExistingFunction) -> Json:
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
