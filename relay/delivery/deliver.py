"""The steps of a delivery: inspect the object and import it, or post a message.

The result is an Outcome, which the worker records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import TypeVar

from relay.archive.checked_archive import CheckedArchive
from relay.channels.contract import Message
from relay.config.routing import ordered_by
from relay.delivery.conflict import import_archive
from relay.delivery.import_steps import prepare_import, read_archive
from relay.delivery.outcomes import RespondingTarget, is_response, outcome_of, outcome_of_call
from relay.delivery.pinning import is_current, pin
from relay.delivery.prefetch import PrefetchedObject
from relay.delivery.run import NoOutcome
from relay.errors import PermanentFailure, PluginMissing, RelayError, Superseded
from relay.ledger import Ledger, UploadPosition
from relay.model import (
    Claim,
    Delivery,
    Event,
    Json,
    Kind,
    Localized,
    Outcome,
    Problem,
    Retry,
    Succeeded,
)
from relay.plugins import Plugins
from relay.targets.contract import FunctionName, Progress, Target

log = logging.getLogger(__name__)

T = TypeVar("T")


class Deliverer:
    """Carries claimed deliveries out."""

    def __init__(
        self,
        ledger: Ledger,
        plugins: Plugins,
        message_body: Callable[[Delivery], Json] = lambda delivery: (delivery.message or {})[
            "body"
        ],
    ) -> None:
        """`message_body` returns the body of a message as it is posted."""
        self.ledger = ledger
        self.plugins = plugins
        self._message_body = message_body

    def deliver(self, claim: Claim, progress: Progress = lambda _: None) -> Outcome | NoOutcome:
        """Import the object or post the message; an unexpected exception becomes a Retry.

        `progress` may raise LeaseLost to stop an upload.
        """
        try:
            if claim.delivery.kind == Kind.MESSAGE:
                return self._post(claim)
            return self._import(claim, progress)
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

    def _import(self, claim: Claim, progress: Progress) -> Outcome | NoOutcome:
        delivery, event = claim.delivery, claim.event
        if event is None:
            raise PermanentFailure(
                "delivery.eventless", Localized("The delivery has no event", "该投递没有对应的事件")
            )
        self._check_newest(delivery, event)
        target = _configured(self.plugins.targets, delivery.destination, "targets")
        archive = self._inspect(delivery, event)
        request = prepare_import(
            target,
            archive,
            event,
            delivery.options,
            created=delivery.created,
            known_digest=partial(self.ledger.digests.find, delivery.destination),
            uncertain=claim.first_uncertain_attempt is not None,
        )
        warnings = [
            {"code": finding.code, "message": finding.message.en, "where": finding.where}
            for finding in archive.report.findings
            if finding.level == "warning"
        ]
        details: Json = {"size": archive.size, "warnings": warnings}
        subject = {**asdict(request.function), **details}
        responding = RespondingTarget(target)
        try:
            if stopped := self._lock_function(claim, event, request.function, target):
                return stopped
            outcome = import_archive(responding, request, archive, progress)
        except RelayError as error:
            return outcome_of_call(error, subject, responded=responding.responded)
        self._remember_digest(delivery.destination, outcome.result)
        if archive.sha256:
            details["sha256"] = archive.sha256
        details["warnings"] = [*warnings, *outcome.result.get("warnings", ())]
        return replace(outcome, result={**outcome.result, **details})

    def _inspect(self, delivery: Delivery, event: Event) -> CheckedArchive:
        source = _configured(self.plugins.sources, delivery.source, "sources")
        reader = PrefetchedObject(source, event.object)
        ref = pin(reader, event.object)
        if ref != event.object:
            self.ledger.intake.pin_event(event.id_in(delivery.source), ref)
        return read_archive(reader, ref, delivery.options.get("export_shape"))

    def _check_newest(self, delivery: Delivery, event: Event) -> None:
        """Raise Superseded if a newer event of the object is known.

        Where the events do not show which is the newest, the storage decides.
        """
        event_id = event.id_in(delivery.source)
        if not self.ledger.history.newer_event(event_id, delivery.route, possibly=True):
            return
        source = _configured(self.plugins.sources, delivery.source, "sources")
        if self.ledger.history.newer_event(event_id, delivery.route) or not is_current(
            source, event.object
        ):
            raise Superseded(
                "object.superseded",
                Localized("A newer version of the object was announced", "该对象已有更新的版本"),
            )

    def _lock_function(
        self, claim: Claim, event: Event, name: FunctionName, target: Target
    ) -> NoOutcome | None:
        """Take the lock of the function: no other import of it runs until this import has ended.

        Raises Superseded if a newer upload was already imported.
        """
        function = ordered_by(claim.delivery.options, event, name.func_name)
        if function is None:
            return None
        rate = getattr(target.settings, "rate", None)
        lock = self.ledger.functions.lock(claim, function, rate)
        if lock.status == "busy":
            return NoOutcome.FUNCTION_BUSY
        if lock.status == "lost":
            return NoOutcome.LEASE_LOST
        if newer := lock.newer:
            raise Superseded(
                "function.superseded", _newer_text(function, newer, claim.delivery.source)
            )
        return None

    def _remember_digest(self, destination: str, result: Json) -> None:
        """Store the digest that the target reports for this code; needed after lost responses.

        An error here is only logged: the import has succeeded.
        """
        digest, target_digest = result.get("digest"), result.get("target_digest")
        if not (digest and target_digest and digest != target_digest):
            return
        try:
            self.ledger.digests.remember(destination, digest, target_digest)
        except Exception:
            log.warning("digest not learned", exc_info=True, extra={"target": destination})

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
