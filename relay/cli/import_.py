"""`relay import`: now, in the foreground, with a progress bar; the exit code tells the outcome."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from pathlib import Path

import click

from relay.app.relay import Relay
from relay.cli.archive_file import archive_in, as_what, event_of, refuse_unknown
from relay.cli.context import load_settings
from relay.cli.foreground import ForegroundRetry, WaitReason, wait_reason
from relay.cli.output import json_option, print_json, style, to_json, visible
from relay.cli.progress import ProgressBar, progress_bar
from relay.config import routing as routes
from relay.delivery.conflict import ImportRequest, bring
from relay.delivery.deliver import refuse
from relay.errors import NotNeeded, RelayError
from relay.model import Delivery, Json, Kind, Skipped, State, Succeeded, utc_now
from relay.targets.contract import FunctionName

PATIENCE = 0.2


@click.command("import")
@click.argument("what", nargs=-1, required=True, metavar="FILE.zip | SOURCE BUCKET KEY")
@click.option("--version", help="Which version of the object.")
@as_what
@json_option
def command(what: tuple[str, ...], version: str | None, as_json: bool, **options: str) -> None:
    """Imports an object of a source (as a delivery, recorded and told) or a file, now.

    Ends with 0 when it was imported or needs no import, with 1 when it failed, or when it waits
    for a target that is paused or down.
    """
    with closing(Relay.open(load_settings())) as relay:
        if len(what) == 3:
            result = import_object(relay, *what, version=version)
        elif len(what) == 1 and options["target"]:
            result = import_file(relay, Path(what[0]), options)
        else:
            raise click.UsageError("give a FILE.zip and --target, or SOURCE BUCKET KEY")
    if as_json:
        print_json(result)
    else:
        say(result)
    raise SystemExit(0 if result["state"] in (State.SUCCEEDED, State.SKIPPED) else 1)


def import_object(relay: Relay, source: str, bucket: str, key: str, version: str | None) -> Json:
    """Submits the object and works its deliveries off here; a worker that is faster is watched."""
    deliveries = relay.operations.submit(source, bucket, key, version)
    imports = [one for one in deliveries if one.kind == Kind.IMPORT]
    for delivery in imports:
        with progress_bar(delivery.key, _size(relay, delivery)) as bar:
            work_off(relay, delivery, bar)
    while claim := relay.worker.claim(Kind.MESSAGE):
        relay.worker.run(claim)
    ended = [relay.ledger.history.delivery(one.id) or one for one in imports]
    return _told(ended[0]) if ended else {"state": State.SKIPPED, "reason": "no route"}


def work_off(relay: Relay, delivery: Delivery, bar: ProgressBar) -> None:
    """Tries the delivery until it ended, by this process or by another; says why it waits.

    It is left where it waits for what only a person or the target itself can end.
    """
    told = None
    while True:
        if claim := relay.worker.claim(Kind.IMPORT, only=delivery.id):
            relay.worker.run(claim, bar.update)
            continue
        wait = _wait(relay, delivery)
        if wait and wait.key != told:
            told = wait.key
            bar.say(wait.text)
        if wait is None or wait.is_blocked:
            return
        time.sleep(PATIENCE)


def _wait(relay: Relay, delivery: Delivery) -> WaitReason | None:
    """Why it could not be claimed; None: it ended."""
    now = relay.ledger.history.delivery(delivery.id)
    if now is None or now.state.finished:
        return None
    states = {one["name"]: one for one in relay.operations.targets()}
    return wait_reason(now, states.get(now.destination), utc_now())


def import_file(relay: Relay, path: Path, options: dict[str, str]) -> Json:
    """Imports a file straight into a target; not recorded, since no event came into being."""
    refuse_unknown(relay, options["target"])
    try:
        outcome = _bring_file(relay, path, options)
    except NotNeeded as nothing:
        return {"state": State.SKIPPED, "reason": nothing.reason}
    except RelayError as error:
        return {"state": State.FAILED, "error": error.problem.to_json()}
    state = State.SKIPPED if isinstance(outcome, Skipped) else State.SUCCEEDED
    reason = outcome.reason if isinstance(outcome, Skipped) else None
    return {"state": state, "reason": reason, "result": to_json(outcome.result)}


def _bring_file(relay: Relay, path: Path, options: dict[str, str]) -> Succeeded | Skipped:
    name = options["target"]
    target, archive = relay.plugins.targets[name], archive_in(path)
    refuse(archive.report)
    export = archive.report.export
    order = FunctionName(
        *routes.names(options, event_of(path), export.function if export else None)
    )
    target.check(order, archive.report)
    learned = partial(relay.ledger.digests.find, name)
    wish = ImportRequest(order, options["on_conflict"], utc_now(), learned=learned)
    with progress_bar(path.name, archive.size) as bar:
        return ForegroundRetry(bar.say).run(
            wish, lambda now: bring(target, now, archive, bar.update)
        )


def say(result: Json) -> None:
    """One line for the outcome, one for what to do next."""
    state, told = result["state"], result.get("result") or {}
    colour = {State.SUCCEEDED: "green", State.FAILED: "red"}.get(State(state), "yellow")
    words = told.get("func_urn") or result.get("reason") or ""
    click.echo(f"{style(str(state), fg=colour)} {visible(words)}")
    if error := result.get("error"):
        click.echo(f"  {error['code']}: {visible(error['message']['en'])}")
        click.echo(f"  {visible(error['hint']['en'])}")


def _told(delivery: Delivery) -> Json:
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
