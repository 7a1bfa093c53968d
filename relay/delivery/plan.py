"""The dry run: inspects the archive, finds the route, and predicts what an import would do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from relay.archive.checked_archive import CheckedArchive
from relay.archive.findings import printable
from relay.archive.inspect import ArchiveReport
from relay.archive.strict_yaml import as_integer
from relay.config.load import Settings
from relay.config.routing import match
from relay.delivery.changes import CodeComparison
from relay.delivery.conflict import predict
from relay.delivery.import_steps import open_archive, prepare_import
from relay.errors import PermanentFailure
from relay.ledger.target_digests import TargetDigests
from relay.model import Event, Json, NewDelivery, State
from relay.plugins import Plugins
from relay.targets.contract import NO_DIFFERENCES

_TEXTS = ("Runtime", "Handler", "CodeType")
_NUMBERS = ("MemorySize", "Timeout")
"""Properties of an export that a plan shows."""


class Planner:
    """Makes plans. Reads the source and the target; changes nothing."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        digests: TargetDigests,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.plugins = plugins
        self.digests = digests
        self.clock = clock

    def plan(self, source: str, event: Event) -> Json:
        """The plan for an object: `archive`, `route`, `target`, `order`, `held`, `would`.

        Raises the errors of opening the object and of looking up the function. A bad archive is
        not an error here: the plan lists the findings.
        """
        delivery = match(self.settings.routes, source, event)
        export_shape = delivery.options.get("export_shape")
        archive = open_archive(self.plugins.sources[source], event.object, export_shape)
        return self.plan_archive(archive, event, delivery)

    def plan_archive(self, archive: CheckedArchive, event: Event, delivery: NewDelivery) -> Json:
        """The plan for an archive that is already open."""
        plan: Json = {
            "archive": describe(archive.report),
            "route": delivery.route or None,
            "target": delivery.destination or None,
            "order": None,
            "held": None,
        }
        if delivery.state == State.SKIPPED:
            return {**plan, "would": {"action": "skip", "reason": delivery.reason}}
        if archive.report.errors:
            return {**plan, "would": {"action": "fail", "code": archive.report.errors[0].code}}
        try:
            return {**plan, **self._plan_import(archive, event, delivery)}
        except PermanentFailure as error:
            would = {"action": "fail", "code": error.code, "why": error.message.en}
            return {**plan, "would": would}

    def _plan_import(self, archive: CheckedArchive, event: Event, delivery: NewDelivery) -> Json:
        target = self.plugins.targets[delivery.destination]
        request = prepare_import(
            target,
            archive,
            event,
            delivery.options,
            created=self.clock(),
            comparison=CodeComparison(self.digests, delivery.destination),
        )
        function = request.function
        existing = target.held(function)
        is_same = existing is not None and request.is_same_code(existing, archive)
        differences = NO_DIFFERENCES
        if existing and (request.on_conflict == "update" or is_same):
            differences = target.differences(existing, archive, request.options)
        return {
            "order": {
                "func_name": function.func_name,
                "package": function.package,
                "on_conflict": request.on_conflict,
            },
            "held": existing
            and {
                "func_urn": existing.urn,
                "package": existing.package,
                "code_size": existing.code_size,
                "last_modified": existing.modified,
                "same_code": is_same,
            },
            "would": predict(existing, request, is_same=is_same, differences=differences),
        }


def describe(report: ArchiveReport) -> Json:
    """An archive's report as JSON, in English and Chinese."""
    export = report.export
    return {
        "size": report.size,
        "entries": [{"name": e.name, "size": e.size} for e in report.entries[:1000]],
        "findings": [
            {
                "code": finding.code,
                "level": finding.level,
                "where": finding.where,
                "message": finding.message._asdict(),
                "hint": finding.hint._asdict(),
            }
            for finding in report.findings
        ],
        "importable": not report.errors,
        "export": export
        and {
            "function": export.function,
            "yaml": export.yaml_name,
            "code": export.code and export.code.name,
            "properties": {
                **{name: _text(export.properties.get(name)) for name in _TEXTS},
                **{name: _number(export.properties.get(name)) for name in _NUMBERS},
            },
        },
    }


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) else None


def _number(value: object) -> int | str | None:
    number = as_integer(value)
    return number if number is not None else _text(value)
