"""Bring one archive to a target under a conflict policy; a lost answer is no outcome.

A call whose answer was lost, and a name that is taken, lead to the same question: what does the
target hold now? Equal code after an earlier attempt of ours means that it happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from relay.errors import NameTaken, NotNeeded, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.model import Json, Localized, Skipped, Succeeded
from relay.targets.contract import (
    Archive,
    ExistingFunction,
    FunctionName,
    ImportResult,
    Progress,
    Target,
)

LONGEST_NAME = 60
"""Characters of a function name (ImportFunction, func_name)."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is to be imported as what, and what to do when the name is taken.

    `earlier`: an attempt of this delivery began before and may have reached the target.
    `created`: when the delivery was made; `rename` takes its stamp from it, so that every attempt
    means the same name. `learned`: what digest the target is known to keep for a code file of this
    SHA-512, where it does not keep the SHA-512 itself. `free`: the name was, just before the call.
    """

    order: FunctionName
    on_conflict: str
    created: datetime
    earlier: bool = False
    learned: Callable[[str], str | None] = lambda _: None
    free: bool = False

    def same(self, held: ExistingFunction, archive: Archive) -> bool:
        """Whether what is held is the archive's code."""
        if held.digest is None:
            return False
        ours = archive.code_digest().lower()
        return bool(ours) and held.digest.lower() in (ours, self.learned(ours))


def bring(
    target: Target, wish: ImportRequest, archive: Archive, progress: Progress
) -> Succeeded | Skipped:
    """Imports the archive; the outcome is what the target really holds afterwards.

    Asks before it loads: a name that is taken costs no upload, and after a lost answer it is known
    whether the name was free. Raises PermanentFailure and TemporaryFailure (Ambiguous: only when
    the target, asked again, does not hold it).
    """
    held = _look(target, wish)
    if isinstance(held, ExistingFunction):
        return _resolve(target, wish, archive, held, progress)
    wish = replace(wish, free=held is None)
    try:
        return _landed("created", target.create(wish.order, archive, progress), archive)
    except NameTaken:
        return _name_taken(target, wish, archive, progress)
    except OutcomeUnknown as lost:
        return _ask(target, wish, archive, lost, progress)


def renamed(order: FunctionName, created: datetime) -> FunctionName:
    """The order under `{function}-YYYYmmdd-HHMMSS`, at most 60 characters long."""
    stamp = created.strftime("-%Y%m%d-%H%M%S")
    return FunctionName(order.func_name[: LONGEST_NAME - len(stamp)] + stamp, order.package)


def forecast(
    held: ExistingFunction | None, order: FunctionName, policy: str, created: datetime, same: bool
) -> Json:
    """What an import would do now, in words: the plan's answer to "what would happen?"."""
    if held is None:
        return {"action": "create", "func_name": order.func_name}
    match policy:
        case "update":
            return {"action": "update", "func_name": held.func_name, "func_urn": held.urn}
        case "rename":
            return {"action": "create", "func_name": renamed(order, created).func_name}
        case "skip" if same:
            return {"action": "skip", "reason": "unchanged", "func_urn": held.urn}
        case _:
            return {"action": "fail", "code": _taken(held, policy).code, "func_urn": held.urn}


def _look(target: Target, wish: ImportRequest) -> ExistingFunction | PermanentFailure | None:
    """What is held now; None: the name is free; a PermanentFailure: the target refuses to say.

    That is no obstacle to a first attempt (a key may import and not list), but after an earlier one
    only the answer decides.
    """
    try:
        return _asked(target, wish.order) if wish.earlier else target.held(wish.order)
    except PermanentFailure as refused:
        return refused


def _name_taken(
    target: Target, wish: ImportRequest, archive: Archive, progress: Progress
) -> Succeeded | Skipped:
    held = target.held(wish.order)
    if held is not None:
        return _resolve(target, wish, archive, held, progress)
    raise TemporaryFailure(
        "conflict.unclear",
        Localized(
            f"The target says that {wish.order.func_name} exists, but does not show it",
            f"目标端称函数 {wish.order.func_name} 已存在，却查询不到它",
        ),
        Localized(
            "It may be in the middle of a change; Relay asks again later.",
            "该函数可能正在变更，Relay 稍后会再次查询。",
        ),
    )


def _resolve(
    target: Target,
    wish: ImportRequest,
    archive: Archive,
    held: ExistingFunction,
    progress: Progress,
) -> Succeeded | Skipped:
    """The name is taken: by an earlier attempt of ours, or the policy says what to do."""
    if wish.on_conflict == "update":
        return _landed("updated", target.replace(held, archive, progress), archive)
    if wish.on_conflict == "rename":
        return _rename(target, wish, archive, held, progress)
    same = wish.same(held, archive)
    if same and wish.earlier:
        return _already(held)
    if same and wish.on_conflict == "skip":
        return Skipped(NotNeeded.reason, _held(held))
    raise _taken(held, wish.on_conflict)


def _rename(
    target: Target,
    wish: ImportRequest,
    archive: Archive,
    held: ExistingFunction,
    progress: Progress,
) -> Succeeded:
    if not wish.earlier:
        return _create_renamed(target, wish, archive, progress)
    # The copy first: the name itself may have been taken, with the same code, by somebody else.
    copy = _asked(target, renamed(wish.order, wish.created))
    for mine in (copy, held):
        if mine is not None and wish.same(mine, archive):
            return _already(mine)
    return _create_renamed(target, wish, archive, progress)


def _create_renamed(
    target: Target, wish: ImportRequest, archive: Archive, progress: Progress
) -> Succeeded:
    order = renamed(wish.order, wish.created)
    try:
        return _landed("renamed", target.create(order, archive, progress), archive)
    except NameTaken:
        held = target.held(order)
        if held is not None and wish.same(held, archive):
            return _already(held)
        raise
    except OutcomeUnknown as lost:
        return _ask(target, replace(wish, order=order, free=False), archive, lost, progress)


def _ask(
    target: Target, wish: ImportRequest, archive: Archive, lost: OutcomeUnknown, progress: Progress
) -> Succeeded:
    """Did it happen? Yes is a success; anything else is tried again, and then knows of this try."""
    held = _asked(target, wish.order)
    if held is None:
        raise lost
    if wish.free and held.code_size is not None and held.code_size == archive.code_size:
        # Whatever the target takes for a digest: nobody else made the same in this moment.
        return _already(held)
    if not wish.same(held, archive):
        raise lost
    if wish.on_conflict == "update" and not wish.free:
        # The lost answer may have been a 409: then the configuration is not the archive's yet.
        return _landed("updated", target.replace(held, archive, progress), archive)
    return _already(held)


def _asked(target: Target, order: FunctionName) -> ExistingFunction | None:
    """What is held, when it decides whether something happened: a refusal to say is no verdict."""
    try:
        return target.held(order)
    except PermanentFailure as refused:
        raise TemporaryFailure(
            "conflict.cannot_ask",
            Localized(
                f"Whether {order.func_name} was imported cannot be asked: {refused.message.en}",
                f"无法查询 {order.func_name} 是否已导入：{refused.message.zh}",
            ),
            refused.hint,
            answer=refused.answer,
        ) from refused


def _taken(held: ExistingFunction, policy: str) -> PermanentFailure:
    if policy == "fail":
        return PermanentFailure(
            "conflict.taken",
            Localized(
                f"The target already holds a function {held.func_name} (package {held.package})",
                f"目标端已存在函数 {held.func_name}（应用 {held.package}）",
            ),
            Localized(
                'on_conflict is "fail". Retrigger with "update" to replace it, or delete it.',
                'on_conflict 为 "fail"。可选择 "update" 重新触发以覆盖它，或先在目标端删除该函数。',
            ),
        )
    return PermanentFailure(
        "conflict.other_content",
        Localized(
            f"The target holds {held.func_name} (package {held.package}) with other code",
            f"目标端已存在同名函数 {held.func_name}（应用 {held.package}），但代码不同",
        ),
        Localized(
            'on_conflict is "skip". Retrigger with "update" to replace it, "rename" to keep both.',
            'on_conflict 为 "skip"。可选择 "update" 覆盖或 "rename" 另存后重新触发。',
        ),
    )


def _landed(how: str, landed: ImportResult, archive: Archive) -> Succeeded:
    theirs = landed.answer.get("digest")
    told = {"how": how, "func_urn": landed.urn, "func_name": landed.func_name}
    told |= {"package": landed.package, "digest": archive.known_digest or theirs or ""}
    return Succeeded({**landed.answer, **told, "target_digest": theirs})


def _already(held: ExistingFunction) -> Succeeded:
    return Succeeded({"how": "already there", **_held(held)})


def _held(held: ExistingFunction) -> Json:
    return {
        "func_urn": held.urn,
        "func_name": held.func_name,
        "package": held.package,
        "digest": held.digest,
        "code_size": held.code_size,
        "last_modified": held.modified,
    }
