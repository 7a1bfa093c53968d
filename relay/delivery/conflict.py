"""The conflict policy: what an import does when the target has a function of that name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from relay.delivery.changes import CodeComparison
from relay.delivery.settings_differences import predict_skip, predict_update
from relay.errors import PermanentFailure
from relay.model import Json, Localized, warning
from relay.targets.contract import (
    NO_DIFFERENCES,
    NO_OPTIONS,
    Archive,
    Differences,
    ExistingFunction,
    FunctionName,
    UpdateOptions,
)


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
            details = {"code": name_conflict(existing, policy).code}
    return {"action": action, **details, "func_urn": existing.urn}


def renamed(function: FunctionName, created: datetime, identity: str) -> FunctionName:
    """Return the name for `rename`: `{function}-YYYYmmdd-HHMMSS-xxxxxx`, at most 60 characters.

    The last part derives from the whole name and from `identity`, which is that of the event and
    the route: uploads within a second, and names that are cut, get different names.
    """
    digest = hashlib.sha256(f"{function.func_name}\0{identity}".encode()).hexdigest()
    stamp = created.strftime("-%Y%m%d-%H%M%S-") + digest[:6]
    return FunctionName(function.func_name[: 60 - len(stamp)] + stamp, function.package)


def other_package(existing: ExistingFunction, wanted: str) -> Json:
    return warning(
        "import.other_package",
        Localized(
            f"{existing.func_name} was updated in package {existing.package}, where it is; the"
            f" import is for package {wanted}",
            f"函数 {existing.func_name} 位于应用 {existing.package}，已在该应用中更新；"
            f"本次导入指定的应用为 {wanted}",
        ),
    )


def name_conflict(existing: ExistingFunction, policy: str) -> PermanentFailure:
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


def unreadable_conflict(
    function: FunctionName, policy: str, refusal: PermanentFailure
) -> PermanentFailure:
    return PermanentFailure(
        "conflict.taken",
        Localized(
            f"The target already holds a function {function.func_name}, which Relay may not read:"
            f" {refusal.message.en}",
            f"目标已存在函数 {function.func_name}，但 Relay 无权读取：{refusal.message.zh}",
        ),
        Localized(
            f'on_conflict is "{policy}". Allow the credentials of the target to read functions'
            " (functiongraph:function:getFunctionConfig and :list), and retrigger; or delete the"
            " function, or choose another name.",
            f'on_conflict 为 "{policy}"。请为目标的凭证授予读取函数的权限'
            "（functiongraph:function:getFunctionConfig 与 list）后重新触发；"
            "或先删除该函数，或换用其他名称。",
        ),
        answer=refusal.answer,
    )
