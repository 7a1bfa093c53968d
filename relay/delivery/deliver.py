"""The steps of a delivery: inspect the object and import it, or post a message.

The result is an Outcome, which the worker records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from math import inf
from typing import TypeVar

from relay.archive.checked_archive import CheckedArchive
from relay.channels.contract import Message
from relay.delivery.changes import DEFAULT_TIMING, CallTiming, CodeComparison, RecordedChanges
from relay.delivery.conflict import Action, ImportRequest
from relay.delivery.import_archive import ask, import_archive
from relay.delivery.import_steps import prepare_import, read_archive
from relay.delivery.outcomes import RespondingTarget, is_response, outcome_of, outcome_of_call
from relay.delivery.pinning import is_current, pin
from relay.delivery.prefetch import PrefetchedObject
from relay.delivery.resolution import Resolved, Resolver, cannot_ask, corrected, settle
from relay.delivery.run import NoOutcome
from relay.errors import PermanentFailure, PluginMissing, RelayError, Superseded
from relay.ledger import FunctionLock, Ledger, LedgerUnavailable, UploadPosition
from relay.model import (
    Claim,
    Delivery,
    Event,
    Failed,
    Json,
    Kind,
    Localized,
    Outcome,
    Problem,
    Retry,
    Skipped,
    Succeeded,
    Trigger,
    utc_now,
    warning,
)
from relay.plugins import Plugins
from relay.targets.contract import Progress, Target

log = logging.getLogger(__name__)

T = TypeVar("T")

_REPEATS = 2
"""How often an update is applied again after a late call of an earlier delivery."""

_REPLACED = Localized(
    "The content of this upload no longer exists: the bucket now holds other content under the "
    "key, and keeps no versions",
    "此次上传的内容已不存在：存储桶中该键现为其他内容，且未保留历史版本",
)


class Deliverer:
    """Carries claimed deliveries out."""

    def __init__(
        self,
        ledger: Ledger,
        plugins: Plugins,
        message_body: Callable[[Delivery], Json] = lambda delivery: (delivery.message or {})[
            "body"
        ],
        *,
        timing: CallTiming = DEFAULT_TIMING,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`message_body` returns the body of a message as it is posted."""
        self.ledger = ledger
        self.plugins = plugins
        self.resolver = Resolver(ledger.intents, clock)
        self._message_body = message_body
        self._timing = timing
        self._clock = clock

    def deliver(
        self,
        claim: Claim,
        progress: Progress = lambda _: None,
        lease_left: Callable[[], float] = lambda: inf,
    ) -> Outcome | NoOutcome:
        """Import the object or post the message; an unexpected exception becomes a Retry.

        `progress` may raise LeaseLost to stop an upload. `lease_left` returns the seconds for which
        this worker certainly holds the delivery.
        """
        try:
            if claim.delivery.kind == Kind.MESSAGE:
                return self._post(claim)
            return self._import(claim, progress, lease_left)
        except RelayError as error:
            return outcome_of(error, {})
        except Exception as bug:
            log.exception("delivery hit a bug", extra={"delivery": claim.delivery.id})
            kind = type(bug).__name__
            problem = Problem(
                "relay.bug",
                Localized(f"Relay itself failed ({kind})", f"Relay 自身出错（{kind}）"),
                Localized(
                    "The log has the traceback; please report it. Relay tries again.",
                    "日志中有完整堆栈，请反馈给我们；Relay 会重试。",
                ),
            )
            return Retry(problem)

    def settle(self, claim: Claim, outcome: Skipped | Failed, *, gave_up: bool = False) -> Outcome:
        """Return the outcome to record instead of `outcome`, which would end the delivery.

        If a call may have taken effect, asks the target first. `gave_up`: Relay waits no longer for
        a target that cannot be asked.
        """
        delivery = claim.delivery
        if delivery.kind != Kind.IMPORT:
            return outcome
        intents = self.ledger.intents.of_delivery(delivery.id, delivery.run)
        if not intents:
            return outcome
        try:
            target = _configured(self.plugins.targets, delivery.destination, "targets")
            comparison = CodeComparison(self.ledger.digests, delivery.destination)
            resolved = self.resolver.resolve(target, comparison, intents)
        except LedgerUnavailable:
            raise
        except RelayError as error:
            if not any(intent.is_open for intent in intents):
                return settle(outcome, Resolved(intents), self._clock())
            return cannot_ask(outcome, error, intents, gave_up=gave_up)
        return settle(outcome, resolved, self._clock())

    def find_out(self, delivery: Delivery) -> Succeeded | Failed | None:
        """Ask about a delivery that failed with an unknown effect. None: it is still unknown."""
        intents = self.ledger.intents.of_delivery(delivery.id, delivery.run)
        try:
            target = _configured(self.plugins.targets, delivery.destination, "targets")
            comparison = CodeComparison(self.ledger.digests, delivery.destination)
            resolved = self.resolver.resolve(target, comparison, intents)
        except LedgerUnavailable:
            raise
        except RelayError:
            return None
        return corrected(resolved, delivery.result or {})

    def _import(
        self, claim: Claim, progress: Progress, lease_left: Callable[[], float]
    ) -> Outcome | NoOutcome:
        delivery, event = claim.delivery, claim.event
        if event is None:
            raise PermanentFailure(
                "delivery.eventless", Localized("The delivery has no event", "该投递没有对应的事件")
            )
        target = _configured(self.plugins.targets, delivery.destination, "targets")
        comparison = CodeComparison(self.ledger.digests, delivery.destination)
        resolved = self.resolver.resolve(target, comparison, claim.intents)
        if resolved.created:
            size = event.object.size
            return replace(resolved.created, result={**resolved.created.result, "size": size})
        if not claim.is_only_event:
            self._check_newest(delivery, event)
        archive = self._inspect(delivery, event)
        request = prepare_import(
            target,
            archive,
            event,
            delivery.options,
            created=delivery.created,
            comparison=comparison,
            identity=f"{event.id_in(delivery.source)} {delivery.route}",
        )
        warnings = [
            warning(finding.code, finding.message, finding.where)
            for finding in archive.report.findings
            if finding.level == "warning"
        ]
        details: Json = {"size": archive.size, "warnings": warnings}
        subject = {**asdict(request.function), **details}
        responding = RespondingTarget(target)
        changes = RecordedChanges(
            self.ledger.intents,
            replace(claim, intents=resolved.intents),
            request.function.func_name,
            self._clock,
            self._timing,
            lease_left,
        )
        try:
            outcome = self._change(claim, responding, request, archive, changes, progress)
        except RelayError as error:
            error.effect = tuple(changes.certain_effect)
            return outcome_of_call(error, subject, responded=responding.responded)
        if isinstance(outcome, NoOutcome):
            return outcome
        self._learn_digest(request.comparison, outcome.result)
        if archive.sha256:
            details["sha256"] = archive.sha256
        details["warnings"] = [*warnings, *outcome.result.get("warnings", ())]
        details |= self._overwritten(delivery, event, outcome)
        if isinstance(outcome, Succeeded):
            details["effect"] = changes.effect
        return replace(outcome, result={**outcome.result, **details})

    def _inspect(self, delivery: Delivery, event: Event) -> CheckedArchive:
        source = _configured(self.plugins.sources, delivery.source, "sources")
        reader = PrefetchedObject(source, event.object)
        try:
            ref = pin(reader, event.object)
        except Superseded as error:
            if self._is_wanted(delivery, event):
                raise Superseded("object.replaced", _REPLACED) from error
            raise
        if ref != event.object:
            self.ledger.intake.pin_event(event.id_in(delivery.source), ref)
        return read_archive(reader, ref, delivery.options.get("export_shape"))

    def _check_newest(self, delivery: Delivery, event: Event) -> None:
        """Raise Superseded if a newer event of the object is known, unless a person wants this one.

        Where the events do not show which is the newest, the storage decides.
        """
        event_id = event.id_in(delivery.source)
        if not self.ledger.history.newer_event(event_id, delivery.route, possibly=True):
            return
        if self._is_wanted(delivery, event):
            return
        source = _configured(self.plugins.sources, delivery.source, "sources")
        if self.ledger.history.newer_event(event_id, delivery.route) or not is_current(
            source, event.object
        ):
            raise Superseded(
                "object.superseded",
                Localized("A newer version of the object was announced", "该对象已有更新的版本"),
            )

    def _change(
        self,
        claim: Claim,
        target: RespondingTarget,
        request: ImportRequest,
        archive: CheckedArchive,
        changes: RecordedChanges,
        progress: Progress,
    ) -> Succeeded | Skipped | NoOutcome:
        """Import the archive once nothing else changes the function.

        Repeats an update that a late call of an earlier delivery has overwritten.
        """
        lock = self._lock_function(claim, request.function.func_name, target)
        if isinstance(lock, NoOutcome):
            return lock
        may_land_late = self.resolver.resolve_others(target, request.comparison, lock.earlier)
        outcome = import_archive(target, request, archive, changes, progress)
        for _ in range(_REPEATS if may_land_late else 0):
            if _is_in_place(target, request, archive, outcome):
                break
            outcome = import_archive(target, request, archive, changes, progress)
        return outcome

    def _lock_function(
        self, claim: Claim, function: str, target: Target
    ) -> FunctionLock | NoOutcome:
        """Take the lock of the function: no other import of it runs until this import has ended.

        Raises Superseded if a newer upload was already imported.
        """
        rate = getattr(target.settings, "rate", None)
        lock = self.ledger.functions.lock(claim, function, self._clock(), rate)
        if lock.status == "busy":
            return NoOutcome.FUNCTION_BUSY
        if lock.status == "lost":
            return NoOutcome.LEASE_LOST
        if newer := lock.newer:
            raise Superseded(
                "function.superseded", _newer_text(function, newer, claim.delivery.source)
            )
        return lock

    def _is_wanted(self, delivery: Delivery, event: Event) -> bool:
        """Return whether a person asked for this upload, even if it is an older one."""
        event_id = event.id_in(delivery.source)
        return delivery.trigger == Trigger.MANUAL or self.ledger.history.is_submitted(event_id)

    def _overwritten(self, delivery: Delivery, event: Event, outcome: Outcome) -> Json:
        """Return the newer upload that an update overwrote, because a person asked for it."""
        how = outcome.result.get("how") if isinstance(outcome, Succeeded) else None
        if how != "updated" or not self._is_wanted(delivery, event):
            return {}
        newer = self.ledger.functions.overwritten_by(delivery.id)
        return {"overwrites": newer.as_json()} if newer else {}

    def _learn_digest(self, comparison: CodeComparison, result: Json) -> None:
        """Store the digest that the target reports for this code; needed after lost responses.

        An error here is only logged: the import has succeeded.
        """
        digest, target_digest = result.get("digest"), result.get("target_digest")
        if not (digest and target_digest):
            return
        try:
            comparison.learn(digest, target_digest)
        except Exception:
            log.warning("digest not learned", exc_info=True)

    def _post(self, claim: Claim) -> Outcome:
        delivery = claim.delivery
        channel = _configured(self.plugins.channels, delivery.destination, "channels")
        body = self._message_body(delivery)
        message = Message(delivery.id, (delivery.message or {})["type"], delivery.created, body)
        if recovered := body.get("recovered"):
            thread = self.ledger.history.message_thread(recovered["message"])
            message = replace(message, thread=thread)
        try:
            posted = channel.post(message)
        except RelayError as error:
            return outcome_of_call(error, {}, responded=is_response(error))
        return Succeeded({"thread": posted.thread} if posted.thread else {}, posted.answer)


def _is_in_place(
    target: Target, request: ImportRequest, archive: CheckedArchive, outcome: Succeeded | Skipped
) -> bool:
    """Ask whether the function still has the code of an update, as far as its digest is known."""
    digest = outcome.result.get("target_digest")
    if request.on_conflict != Action.UPDATE or not digest:
        return True
    existing = ask(target, request.function)
    return existing is not None and (
        existing.digest == digest or request.comparison.has_digest(existing, archive.code_digest())
    )


def _newer_text(function: str, newer: UploadPosition, source: str) -> Localized:
    """Say which upload is newer, and by which order."""
    if newer.source == source:
        return Localized(
            f"{newer.key}, uploaded later, is in {function} already (delivery {newer.delivery})",
            f"函数 {function} 中已是更晚上传的 {newer.key}（投递 {newer.delivery}）",
        )
    return Localized(
        f"{newer.key} of source {newer.source}, which arrived later, is in {function} already "
        f"(delivery {newer.delivery}); between sources, the order of arrival decides",
        f"函数 {function} 中已是来源 {newer.source} 中更晚到达的 {newer.key}"
        f"（投递 {newer.delivery}）；不同来源之间以到达先后为准",
    )


def _configured(table: Mapping[str, T], name: str, group: str) -> T:
    try:
        return table[name]
    except KeyError:
        raise PluginMissing(
            f"{group}.{name}",
            f"{group}.unknown",
            Localized(
                f"{group}.{name} is not in this worker's configuration",
                f"当前配置中没有 {group}.{name}",
            ),
            Localized(
                f"Put [{group}.{name}] back into relay.toml; the delivery waits for it.",
                f"请在 relay.toml 中恢复 [{group}.{name}]，该投递会继续等待。",
            ),
        ) from None
