"""The steps of one delivery: open, look, call (an import) or post (a message).

What comes out is an Outcome; nothing is written here, the worker records it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TypeVar

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import ArchiveReport, inspect
from relay.channels.contract import Message
from relay.config.routing import names, ordered_by
from relay.delivery.conflict import ImportRequest, bring
from relay.delivery.outcomes import RespondingTarget, is_answer, outcome_at, outcome_of
from relay.delivery.pinning import is_current, pin
from relay.delivery.prefetch import PrefetchedObject
from relay.delivery.run import FunctionBusy, LeaseLost
from relay.errors import PermanentFailure, PluginMissing, RelayError, Superseded, TemporaryFailure
from relay.ledger import Ledger
from relay.model import (
    Claim,
    Delivery,
    Event,
    Json,
    Kind,
    Localized,
    ObjectRef,
    Outcome,
    Problem,
    Retry,
    Succeeded,
)
from relay.plugins import Plugins
from relay.sources.contract import StorageHandler
from relay.targets.contract import FunctionName, Progress, Target

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InspectedObject:
    """An object that was looked at: pinned, its archive inspected, nothing loaded yet."""

    archive: CheckedArchive
    order: FunctionName


class Deliverer:
    """Brings claimed deliveries to their destinations."""

    def __init__(
        self, ledger: Ledger, plugins: Plugins, told: Callable[[Delivery], Json] | None = None
    ) -> None:
        """`told`: the body of a message as it is posted; None: as the ledger has it."""
        self.ledger = ledger
        self.plugins = plugins
        self._told = told or _as_it_is

    def deliver(self, claim: Claim, progress: Progress = lambda _: None) -> Outcome:
        """Does what the claim is for. Never raises: a bug is a Retry that says so."""
        bring_it = {Kind.IMPORT: self._import, Kind.MESSAGE: self._post}[claim.delivery.kind]
        try:
            return bring_it(claim, progress)
        except RelayError as error:
            return outcome_of(error, {})
        except Exception as bug:
            log.exception("delivery hit a bug", extra={"delivery": claim.delivery.id})
            return Retry(_bug(bug))

    def _import(self, claim: Claim, progress: Progress) -> Outcome:
        delivery, event = claim.delivery, claim.event
        if event is None:
            raise PermanentFailure(
                "delivery.eventless", Localized("The delivery has no event", "该投递没有对应的事件")
            )
        self._refuse_older(delivery, event)
        target = _configured(self.plugins.targets, delivery.destination, "targets")
        opened = self.look(delivery, event)
        target.check(opened.order, opened.archive.report)
        wish = ImportRequest(
            opened.order,
            delivery.options.get("on_conflict", "skip"),
            delivery.created,
            earlier=claim.earlier is not None,
            learned=partial(self.ledger.digests.find, delivery.destination),
        )
        seen: Json = {"size": opened.archive.size, "warnings": _told(opened.archive.report)}
        about = {**asdict(opened.order), **seen}
        if newer := self._enter(claim, event, opened.order, target):
            return outcome_of(newer, about)
        heard = RespondingTarget(target)
        try:
            outcome = bring(heard, wish, opened.archive, progress)
        except RelayError as error:
            return outcome_at(error, about, answered=heard.answered)
        self._learn(delivery.destination, outcome.result)
        if opened.archive.sha256:
            seen["sha256"] = opened.archive.sha256
        return replace(outcome, result={**outcome.result, **seen})

    def look(self, delivery: Delivery, event: Event) -> InspectedObject:
        """Pins the object, reads its directory, and refuses what may not be imported."""
        source = _configured(self.plugins.sources, delivery.source, "sources")
        near = PrefetchedObject(source, event.object)
        ref = pin(near, event.object)
        if ref != event.object:
            self.ledger.intake.pin_event(event.id_in(delivery.source), ref)
        name = ref.key.rpartition("/")[2] or ref.key
        archive = _inspected(near, ref, name, delivery.options.get("export_shape"))
        refuse(archive.report)
        export = archive.report.export
        order = FunctionName(*names(delivery.options, event, export.function if export else None))
        return InspectedObject(archive, order)

    def _refuse_older(self, delivery: Delivery, event: Event) -> None:
        """Where no order of the storage's own tells which event is the newest, it is asked."""
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

    def _enter(
        self, claim: Claim, event: Event, order: FunctionName, target: Target
    ) -> Superseded | None:
        """From here on no other import of the function runs; an error: a newer one has been."""
        function = ordered_by(claim.delivery.options, event, order.func_name)
        if function is None:
            return None
        entry = self.ledger.functions.lock(claim, function, getattr(target.settings, "rate", None))
        if entry.status != "locked":
            raise FunctionBusy if entry.status == "busy" else LeaseLost
        newer = entry.newer
        if newer is None:
            return None
        return Superseded(
            "function.superseded",
            Localized(
                f"{newer.key}, uploaded later, is in {function} already "
                f"(delivery {newer.delivery})",
                f"函数 {function} 中已是更晚上传的 {newer.key}（投递 {newer.delivery}）",
            ),
        )

    def _learn(self, destination: str, result: Json) -> None:
        """Keeps how the target names this code, for when an answer is lost one day.

        The import has happened: whatever goes wrong here, it is a success.
        """
        ours, theirs = result.get("digest"), result.get("target_digest")
        if not (ours and theirs and ours != theirs):
            return
        try:
            self.ledger.digests.remember(destination, ours, theirs)
        except Exception:
            log.warning("digest not learned", exc_info=True, extra={"target": destination})

    def _post(self, claim: Claim, _: Progress) -> Outcome:
        delivery = claim.delivery
        channel = _configured(self.plugins.channels, delivery.destination, "channels")
        message = delivery.message or {}
        told = Message(delivery.id, message["type"], delivery.created, self._told(delivery))
        if recovered := told.body.get("recovered"):
            told = replace(told, thread=self.ledger.history.message_thread(recovered["message"]))
        try:
            posted = channel.post(told)
        except RelayError as error:
            return outcome_at(error, {}, answered=is_answer(error))
        return Succeeded({"thread": posted.thread} if posted.thread else {}, posted.answer)


def _as_it_is(message: Delivery) -> Json:
    body: Json = (message.message or {})["body"]
    return body


def archive_of(
    source: StorageHandler, ref: ObjectRef, name: str, shape: str | None
) -> CheckedArchive:
    """The object as an archive: pinned to what the store holds now, its directory read."""
    return _inspected(source, pin(source, ref), name, shape)


def _inspected(
    source: StorageHandler | PrefetchedObject, pinned: ObjectRef, name: str, shape: str | None
) -> CheckedArchive:
    size = pinned.size or 0

    def read(start: int, end: int) -> bytes:
        stream = source.open(pinned, start, end)
        try:
            return _exactly(stream.read, end - start)
        finally:
            stream.close()

    report = inspect(size, read)
    if shape == "warn":
        report = report.relaxed()
    return CheckedArchive(name, size, report, lambda start, end: source.open(pinned, start, end))


def refuse(report: ArchiveReport) -> None:
    """Raises PermanentFailure with the first error's code and the words of all of them."""
    if not report.errors:
        return
    first, *more = report.errors
    message = first.message
    if more:
        message = Localized(
            f"{first.message.en} (and {len(more)} more findings)",
            f"{first.message.zh}（另有 {len(more)} 项问题）",
        )
    answer = "\n".join(f"{finding.code}: {finding.message.en}" for finding in report.errors)
    raise PermanentFailure(first.code, message, first.hint, answer=answer)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts = []
    while size and (part := read(size)):
        parts.append(part)
        size -= len(part)
    if size:
        raise TemporaryFailure(
            "object.cut",
            Localized("The store ended the object early", "存储提前结束了对象的传输"),
        )
    return b"".join(parts)


def _told(report: ArchiveReport) -> list[dict[str, str | None]]:
    return [
        {"code": finding.code, "message": finding.message.en, "where": finding.where}
        for finding in report.findings
        if finding.level == "warning"
    ]


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


def _bug(bug: Exception) -> Problem:
    kind = type(bug).__name__
    return Problem(
        "relay.bug",
        Localized(f"Relay itself failed ({kind})", f"Relay 自身出错（{kind}）"),
        Localized(
            "The log has the traceback; please report it. Relay tries again.",
            "日志中有完整堆栈，请反馈给我们；Relay 会重试。",
        ),
    )
