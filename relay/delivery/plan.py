"""The dry run: what lies in the archive, which route takes it, and what would happen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import ArchiveReport, Finding
from relay.config import routing as routes
from relay.config.load import Settings
from relay.delivery.conflict import ImportRequest, forecast
from relay.delivery.deliver import archive_of
from relay.errors import PermanentFailure
from relay.ledger import Ledger
from relay.model import Event, Json, NewDelivery, State
from relay.plugins import Plugins
from relay.targets.contract import ExistingFunction, FunctionName


class Planner:
    """Makes plans. Reads the source and the target; changes nothing anywhere."""

    def __init__(
        self, settings: Settings, plugins: Plugins, ledger: Ledger, *, clock: Callable[[], datetime]
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.learned = ledger.digests.find
        self.clock = clock

    def plan(self, source: str, event: Event) -> Json:
        """The plan for one object: `archive`, `route`, `target`, `order`, `held`, `would`.

        Raises what opening the object or asking the target raises; a bad archive is no error
        here: its findings are the answer.
        """
        duty = routes.match(self.settings.routes, source, event)
        key = event.object.key
        archive = archive_of(
            self.plugins.sources[source],
            event.object,
            key.rpartition("/")[2] or key,
            duty.options.get("export_shape"),
        )
        return self.plan_archive(archive, event, duty)

    def plan_archive(self, archive: CheckedArchive, event: Event, duty: NewDelivery) -> Json:
        """The plan for an archive that is at hand already."""
        told: Json = {
            "archive": describe(archive.report),
            "route": duty.route or None,
            "target": duty.destination or None,
            "order": None,
            "held": None,
        }
        if duty.state == State.SKIPPED:
            return {**told, "would": {"action": "skip", "reason": duty.reason}}
        if archive.report.errors:
            return {**told, "would": {"action": "fail", "code": archive.report.errors[0].code}}
        try:
            return {**told, **self._order(archive, event, duty)}
        except PermanentFailure as error:
            would = {"action": "fail", "code": error.code, "why": error.message.en}
            return {**told, "would": would}

    def _order(self, archive: CheckedArchive, event: Event, duty: NewDelivery) -> Json:
        export = archive.report.export
        order = FunctionName(
            *routes.names(duty.options, event, export.function if export else None)
        )
        target = self.plugins.targets[duty.destination]
        target.check(order, archive.report)
        held = target.held(order)
        policy = duty.options.get("on_conflict", "skip")
        wish = ImportRequest(
            order, policy, self.clock(), learned=partial(self.learned, duty.destination)
        )
        same = held is not None and wish.same(held, archive)
        would = forecast(held, order, policy, wish.created, same)
        told = {"func_name": order.func_name, "package": order.package, "on_conflict": policy}
        return {"order": told, "held": _held(held, same), "would": would}


def describe(report: ArchiveReport) -> Json:
    """An archive's report as JSON, in English and Chinese."""
    export = report.export
    return {
        "size": report.size,
        "entries": [{"name": e.name, "size": e.size} for e in report.entries[:1000]],
        "findings": [_finding(finding) for finding in report.findings],
        "importable": not report.errors,
        "export": export
        and {
            "function": export.function,
            "yaml": export.yaml_name,
            "code": export.code and export.code.name,
            "properties": {
                name: export.properties.get(name)
                for name in ("Runtime", "Handler", "MemorySize", "Timeout", "CodeType")
            },
        },
    }


def _finding(finding: Finding) -> Json:
    return {
        "code": finding.code,
        "level": finding.level,
        "where": finding.where,
        "message": finding.message._asdict(),
        "hint": finding.hint._asdict(),
    }


def _held(held: ExistingFunction | None, same: bool) -> Json | None:
    if held is None:
        return None
    return {
        "func_urn": held.urn,
        "package": held.package,
        "code_size": held.code_size,
        "last_modified": held.modified,
        "same_code": same,
    }
