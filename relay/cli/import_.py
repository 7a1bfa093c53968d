"""`relay import`: imports in the foreground, with a progress bar and an exit code."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from relay.app.relay import Relay
from relay.cli.archive_file import check_target, file_event, open_file, target_options
from relay.cli.context import load_settings
from relay.cli.foreground import ForegroundRetry, wait_reason
from relay.cli.output import json_option, print_json, style, to_json, visible
from relay.cli.progress import ProgressBar, progress_bar
from relay.cli.result_lines import join_lines, result_lines
from relay.cli.retrigger import confirm_overwrite, describe_upload, newer_import
from relay.delivery.changes import CodeComparison, ImportChanges, call_timing
from relay.delivery.import_archive import import_archive
from relay.delivery.import_steps import prepare_import
from relay.errors import NotNeeded, RelayError
from relay.model import Delivery, Json, Kind, Skipped, State, Succeeded, utc_now

POLL = 0.2
"""Seconds between attempts to claim a delivery that waits."""


@click.command("import")
@click.argument("what", nargs=-1, required=True, metavar="FILE.zip | SOURCE BUCKET KEY")
@click.option("--version", help="The version of the object.")
@click.option("--yes", is_flag=True, help="Overwrite a newer upload without a question.")
@target_options
@json_option
def command(
    what: tuple[str, ...], version: str | None, yes: bool, as_json: bool, **options: str
) -> None:
    """Import an object of a source, or a file, now.

    An object becomes a delivery: it is recorded, and channels are notified. A file is not recorded.

    Exits with 0 if the function was imported or needs no import, with 1 if the import failed or
    waits for a target that is paused or down.
    """
    with closing(Relay.open(load_settings())) as relay:
        if len(what) == 3:
            if not yes:
                _confirm_overwrites(relay, *what, version=version)
            result = import_object(relay, *what, version=version)
        elif len(what) == 1 and options["target"]:
            result = import_file(relay, Path(what[0]), options)
        else:
            raise click.UsageError("give a FILE.zip and --target, or SOURCE BUCKET KEY")
    if as_json:
        print_json(result)
    else:
        show(result)
    raise SystemExit(0 if result["state"] in (State.SUCCEEDED, State.SKIPPED) else 1)


def import_object(relay: Relay, source: str, bucket: str, key: str, version: str | None) -> Json:
    """Submit the object and run the deliveries here; another worker may run them first."""
    deliveries = relay.operations.submit(source, bucket, key, version)
    imports = [delivery for delivery in deliveries if delivery.kind == Kind.IMPORT]
    for delivery in imports:
        with progress_bar(delivery.key, _size(relay, delivery)) as bar:
            run_delivery(relay, delivery, bar)
    while claim := relay.worker.claim(Kind.MESSAGE):
        relay.worker.run(claim)
    if not imports:
        return {"state": State.SKIPPED, "reason": "no route"}
    return _summary(relay.ledger.history.delivery(imports[0].id) or imports[0])


def _confirm_overwrites(
    relay: Relay, source: str, bucket: str, key: str, version: str | None
) -> None:
    """Ask before a known upload overwrites a newer one. Exits with 1 if the answer is no."""
    for delivery in relay.operations.known_imports(source, bucket, key, version):
        newer = newer_import(relay.ledger, delivery.id)
        if newer and not confirm_overwrite(newer):
            upload = visible(describe_upload(newer).en)
            raise click.ClickException(
                f"The function holds a newer upload: {upload}. Give --yes to overwrite it."
            )


def run_delivery(relay: Relay, delivery: Delivery, bar: ProgressBar) -> None:
    """Run the delivery until it has ended, here or in another worker; say why it waits.

    Returns early if the target is paused or down: waiting here would not help.
    """
    announced = None
    while True:
        claim = relay.worker.claim(Kind.IMPORT, only=delivery.id)
        if claim:
            relay.worker.run(claim, bar.update)
        current = relay.ledger.history.delivery(delivery.id)
        if current is None or current.state.finished:
            return
        targets = {target["name"]: target for target in relay.operations.targets()}
        target = targets.get(current.destination)
        wait = wait_reason(current, target, utc_now(), has_failed=claim is not None)
        if wait.key != announced:
            announced = wait.key
            bar.say(wait.text)
        if wait.is_blocked:
            return
        if claim is None:
            time.sleep(POLL)


def import_file(relay: Relay, path: Path, options: dict[str, str]) -> Json:
    """Import a file directly into a target; nothing is recorded."""
    check_target(relay, options["target"])
    try:
        outcome = _import_file(relay, path, options)
    except NotNeeded as skipped:
        words = {"words": skipped.message._asdict()}
        return {"state": State.SKIPPED, "reason": skipped.reason, "result": words}
    except RelayError as error:
        changed = {"effect": list(error.effect)} if error.effect else None
        return {"state": State.FAILED, "error": error.problem.to_json(), "result": changed}
    state = State.SKIPPED if isinstance(outcome, Skipped) else State.SUCCEEDED
    reason = outcome.reason if isinstance(outcome, Skipped) else None
    return {"state": state, "reason": reason, "result": to_json(outcome.result)}


def _import_file(relay: Relay, path: Path, options: dict[str, str]) -> Succeeded | Skipped:
    name = options["target"]
    target, archive = relay.plugins.targets[name], open_file(path)
    request = prepare_import(
        target,
        archive,
        file_event(path),
        options,
        created=utc_now(),
        comparison=CodeComparison(relay.ledger.digests, name),
        identity=archive.report.directory_digest,
    )
    timing = call_timing(relay.settings)
    changes = ImportChanges(request.function.func_name, utc_now, timing)
    with progress_bar(path.name, archive.size) as bar:
        outcome = ForegroundRetry(bar.say).run(
            lambda: import_archive(target, request, archive, changes, bar.update)
        )
    found = [
        {"code": finding.code, "message": finding.message._asdict(), "where": finding.where}
        for finding in archive.report.findings
        if finding.level == "warning"
    ]
    warnings = [*found, *outcome.result.get("warnings", ())]
    return replace(outcome, result={**outcome.result, "warnings": warnings})


def show(result: Json) -> None:
    """Print the outcome, and for a failure what to do next."""
    state, details = result["state"], result.get("result") or {}
    colour = {State.SUCCEEDED: "green", State.FAILED: "red"}.get(State(state), "yellow")
    words = ", ".join(filter(None, (result.get("reason"), details.get("func_urn"))))
    click.echo(f"{style(str(state), fg=colour)} {visible(words)}")
    if error := result.get("error"):
        click.echo(f"  {error['code']}: {visible(error['message']['en'])}")
        click.echo(f"  {visible(error['hint']['en'])}")
    how = [("how", visible(details["how"]))] if details.get("how") else []
    for line in join_lines([*how, *result_lines(details)]):
        click.echo(line)


def _summary(delivery: Delivery) -> Json:
    return {
        "delivery": delivery.id,
        "state": delivery.state,
        "reason": delivery.reason,
        "result": delivery.result,
        "error": delivery.error and delivery.error.to_json(),
    }


def _size(relay: Relay, delivery: Delivery) -> int | None:
    event = relay.ledger.history.event(delivery.event_id) if delivery.event_id else None
    return event.object.size if event else None
