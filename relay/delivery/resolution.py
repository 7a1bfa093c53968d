"""Resolves open intents: asks the target whether a call took effect, before anything is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from relay.delivery.changes import CodeComparison, Match, effect_of
from relay.delivery.import_archive import IS_OURS, ask, confirmed, described
from relay.errors import PermanentFailure, RelayError
from relay.intents import MADE, ChangeCall, Intent, IntentState, NewIntent
from relay.ledger.intents import Intents
from relay.model import (
    Failed,
    Json,
    Localized,
    Problem,
    Retry,
    Skipped,
    Succeeded,
)
from relay.targets.contract import ExistingFunction, FunctionName, Target

Close = Callable[[Collection[Intent], IntentState, datetime], None]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The intents of a delivery after the target was asked.

    `created`: the outcome if the function was created, so that nothing is left to do. `updated`:
    the outcome if the last call of an update was applied.
    """

    intents: tuple[Intent, ...]
    created: Succeeded | None = None
    updated: Succeeded | None = None

    @property
    def open(self) -> list[Intent]:
        return [intent for intent in self.intents if intent.is_open]

    @property
    def effect(self) -> list[str]:
        """The changed parts of the function: "code", "configuration"."""
        return effect_of(self.intents, *MADE)


class Resolver:
    """Asks targets and closes the intents. Raises TemporaryFailure if a target cannot be asked."""

    def __init__(self, intents: Intents, clock: Callable[[], datetime]) -> None:
        self._intents = intents
        self._clock = clock

    def resolve(
        self,
        target: Target,
        comparison: CodeComparison,
        intents: Iterable[Intent],
        close: Close | None = None,
    ) -> Resolved:
        """Ask the target for the functions of all open intents of a delivery.

        An intent stays open if the call may still take effect, if what the target shows decides
        nothing, and if only the archive shows whether it did: that of a configuration which the
        function does not have as it was sent, and that of an attempt without a record.
        """
        close = close or self._intents.close
        held: dict[FunctionName, ExistingFunction | None] = {}
        resolved: list[Intent] = []
        created = updated = None
        asked = [*intents]
        calls = Counter(intent.what.call for intent in asked if intent.is_open and intent.what)
        for intent in asked:
            what, state = intent.what, intent.state
            ends_import = what is not None and what.call is not ChangeCall.UPDATE_CODE
            if what is not None and (intent.is_open or (intent.is_applied and ends_import)):
                name = FunctionName(what.func_name, what.package)
                if name not in held:
                    held[name] = ask(target, name)
                is_repeated = calls[what.call] > 1 and what.call is not ChangeCall.CREATE
                state = self._compare(
                    target, comparison, intent, held[name], is_repeated=is_repeated
                )
                if intent.is_open and state is not IntentState.OPEN:
                    close([intent], state, self._clock())
                if state in MADE:
                    existing = held[name] or _described(what)
                    if what.call is ChangeCall.CREATE:
                        match = comparison.match(existing, intent)
                        created = created or confirmed(intent, existing, match)
                    elif what.call is ChangeCall.UPDATE_CONFIGURATION:
                        updated = Succeeded({"how": "updated", **described(existing)})
            resolved.append(replace(intent, state=state))
        return Resolved(tuple(resolved), created, updated)

    def _compare(
        self,
        target: Target,
        comparison: CodeComparison,
        intent: Intent,
        existing: ExistingFunction | None,
        *,
        is_repeated: bool,
    ) -> IntentState:
        if not intent.is_open:
            return intent.state
        now = self._clock()
        # One of several equal calls was carried out; the others still may be.
        applied = IntentState.REPEATED if is_repeated else IntentState.APPLIED
        if _writes_configuration(intent):
            return applied if _has_configuration(target, existing, intent) else IntentState.OPEN
        match = comparison.match(existing, intent)
        if match in IS_OURS:
            return applied
        is_over = now >= intent.settled_at or _is_prevented(intent, existing)
        return IntentState.NOT_APPLIED if is_over and match is Match.OTHER else IntentState.OPEN

    def resolve_others(
        self, target: Target, comparison: CodeComparison, intents: Iterable[Intent]
    ) -> bool:
        """Resolve what earlier deliveries of a function left open, before it is changed again.

        Their calls can no longer take effect. Returns whether there were any.
        """
        earlier, close = [*intents], self._intents.close_of_others
        unclear = self.resolve(target, comparison, earlier, close).open
        # The next change hides whether these took effect.
        close(unclear, IntentState.OVERWRITTEN, self._clock())
        return bool(earlier)


def _writes_configuration(intent: Intent) -> bool:
    return intent.what is not None and intent.what.call is ChangeCall.UPDATE_CONFIGURATION


def _has_configuration(target: Target, existing: ExistingFunction | None, intent: Intent) -> bool:
    """Return whether the function has the configuration as the call sent it."""
    if existing is None or intent.what is None:
        return False
    try:
        return target.configuration_digest(existing) == intent.what.digest
    except PermanentFailure:
        return False


def _is_prevented(intent: Intent, existing: ExistingFunction | None) -> bool:
    """Return whether a call to create the function must fail: another function has the name."""
    what = intent.what
    is_create = what is not None and what.call is ChangeCall.CREATE and bool(what.is_exact)
    return is_create and existing is not None


def _described(what: NewIntent) -> ExistingFunction:
    """Describe a function that was created, and deleted since by another user."""
    digest = None if what.call is ChangeCall.UPDATE_CONFIGURATION else what.digest
    return ExistingFunction("", what.func_name, what.package, digest, what.size)


def settle(
    outcome: Skipped | Failed, resolved: Resolved, now: datetime
) -> Succeeded | Skipped | Failed | Retry:
    """Return the outcome to record instead of a final one, given what the target holds.

    If the last call of the import was applied, that is a success. A delivery ends without one only
    when it is known what was changed, or when Relay gives up: then with `outcome.unknown`.
    """
    if done := _completed(resolved):
        return done
    if resolved.open:
        settled_at = max(intent.settled_at for intent in resolved.open)
        if now < settled_at:
            problem = _pending_problem(resolved.open)
            return Retry(problem, settled_at - now, counts_as_attempt=False)
        if not _was_compared(outcome, resolved.open):
            return unknown(outcome, resolved)
    effect = resolved.effect
    if not effect:
        return outcome
    if isinstance(outcome, Skipped) and outcome.reason == "gone":
        outcome = Failed(_partial_problem(), result=outcome.result)
    return replace(outcome, result={**outcome.result, "effect": effect})


def corrected(resolved: Resolved, result: Json) -> Succeeded | Failed | None:
    """Return the outcome of a delivery that was reported as unknown; None: it is still unknown."""
    if done := _completed(resolved):
        return done
    if resolved.open:
        return None
    effect = resolved.effect
    if effect:
        problem = _partial_problem()
    elif any(intent.state is IntentState.OVERWRITTEN for intent in resolved.intents):
        problem = _overwritten_problem()
    else:
        problem = _not_applied_problem()
    return Failed(problem, result={**result, "effect": effect})


def _completed(resolved: Resolved) -> Succeeded | None:
    """Return the success of an import whose last call was applied."""
    if resolved.created is not None:
        return resolved.created
    if resolved.updated is None:
        return None
    return Succeeded({**resolved.updated.result, "effect": resolved.effect})


def _was_compared(outcome: Skipped | Failed, open_intents: Iterable[Intent]) -> bool:
    """Return whether the outcome itself shows that the target holds something else.

    That is so for attempts without a record, which only the archive can be compared with.
    """
    is_conflict = isinstance(outcome, Failed) and outcome.problem.code in (
        "conflict.taken",
        "conflict.other_content",
    )
    return is_conflict and all(intent.what is None for intent in open_intents)


def cannot_ask(
    outcome: Skipped | Failed, error: RelayError, intents: Iterable[Intent], *, gave_up: bool
) -> Failed | Retry:
    """Return the outcome to record while the target cannot be asked."""
    if gave_up:
        return unknown(outcome, Resolved(tuple(intents)), was_asked=False)
    wait = getattr(error, "retry_after", None)
    return Retry(error.problem, wait, answer=error.answer, counts_as_attempt=False)


def unknown(outcome: Skipped | Failed, resolved: Resolved, *, was_asked: bool = True) -> Failed:
    """Return the failure of a delivery whose effect cannot be found out.

    `was_asked`: the target answered, but what it shows decides nothing.
    """
    names = sorted({intent.what.func_name for intent in resolved.open if intent.what is not None})
    name_en = ", ".join(names) or "the function"
    name_zh = "、".join(names) or "该函数"
    reason = _reason(outcome)
    asked = _UNDECIDED if was_asked else _NOT_ASKED
    problem = Problem(
        "outcome.unknown",
        Localized(
            f"{name_en} may have been changed: the response was lost, and {asked.en}.{reason.en}",
            f"{name_zh} 可能已被更改：响应丢失，且{asked.zh}。{reason.zh}",
        ),
        Localized(
            "Compare code and configuration in the console with the archive. Relay asks again"
            " from time to time and posts the result. A retrigger asks first.",
            "请在控制台核对函数的代码与配置是否与压缩包一致。Relay 会不时再次查询，"
            "并通知结果；重新触发时也会先查询。",
        ),
    )
    result: Json = {**outcome.result, "effect": resolved.effect}
    gave_up = outcome.gave_up if isinstance(outcome, Failed) else None
    return Failed(problem, None, result, gave_up)


_NOT_ASKED = Localized("the target could not be asked", "无法向目标查询")
_UNDECIDED = Localized(
    "what the target shows does not tell whether the call took effect",
    "目标显示的内容不足以判断该调用是否生效",
)


def _reason(outcome: Skipped | Failed) -> Localized:
    if isinstance(outcome, Failed):
        message = outcome.problem.message
        return Localized(f" Last error: {message.en}", f"最后的错误：{message.zh}")
    return Localized(
        f" The delivery would otherwise be skipped ({outcome.reason}).",
        f"否则该投递会被跳过（{outcome.reason}）。",
    )


def _pending_problem(intents: Iterable[Intent]) -> Problem:
    names = ", ".join(
        sorted({intent.what.func_name for intent in intents if intent.what is not None})
    )
    return Problem(
        "outcome.pending",
        Localized(
            f"A call may still change {names or 'the function'}: its response was lost",
            f"仍有调用可能更改 {names or '该函数'}：其响应已丢失",
        ),
        Localized(
            "Relay waits until the call can no longer take effect, and then asks the target.",
            "Relay 会等到该调用不可能再生效，然后查询目标。",
        ),
    )


def _not_applied_problem() -> Problem:
    return Problem(
        "outcome.not_applied",
        Localized(
            "The target was asked again: this import did not change the function",
            "已再次查询目标：本次导入没有更改该函数",
        ),
        Localized("Retrigger the delivery to import it.", "如需导入，请重新触发该投递。"),
    )


def _overwritten_problem() -> Problem:
    return Problem(
        "outcome.overwritten",
        Localized(
            "Another import changed the function before it was known whether this one took effect",
            "在确认本次导入是否生效之前，该函数已被另一次导入更改",
        ),
        Localized(
            "Nothing has to be done if the function should have the newer content.",
            "如果函数应为较新的内容，则无需处理。",
        ),
    )


def _partial_problem() -> Problem:
    return Problem(
        "import.partial",
        Localized(
            "The code was updated; the configuration was not compared with the export's",
            "代码已更新，但配置未与导出包核对",
        ),
        Localized(
            "Check the configuration of the function, or upload the export again.",
            "请检查该函数的配置，或重新上传导出包。",
        ),
    )
