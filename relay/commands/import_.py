"""`relay import`: now, in the foreground, with a progress bar; the exit code tells the outcome."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from relay import routes
from relay.commands.context import configured
from relay.commands.file import FileStream
from relay.commands.plan import look
from relay.commands.printing import json_option, plain, print_json, style, visible
from relay.conflict import Wish, bring
from relay.deliver import refuse
from relay.errors import ConfigError, NothingToDo, RelayError
from relay.house import House
from relay.model import Delivery, Event, Json, Kind, ObjectRef, Skipped, State, Succeeded, utc_now
from relay.passage import CheckedArchive
from relay.target import Order, Progress, Target

PATIENCE = 0.2


@click.command("import")
@click.argument("what", nargs=-1, required=True, metavar="FILE.zip | SOURCE BUCKET KEY")
@click.option("--version", help="Which version of the object.")
@click.option("--target", help="Where a FILE.zip goes: the name of a [targets.NAME] table.")
@click.option("--func-name", default="{function}", show_default=True, help="For a FILE.zip.")
@click.option("--package", default="default", show_default=True, help="For a FILE.zip.")
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "fail", "update", "rename"]),
    default="skip",
    show_default=True,
    help="For a FILE.zip.",
)
@json_option
def command(what: tuple[str, ...], version: str | None, as_json: bool, **options: str) -> None:
    """Imports an object of a source (as a delivery, recorded and told) or a file, now.

    Ends with 0 when it was imported or needs no import, with 1 when it failed.
    """
    house = House.open(configured())
    try:
        if len(what) == 3:
            result = import_object(house, *what, version=version)
        elif len(what) == 1 and options["target"]:
            result = import_file(house, Path(what[0]), options)
        else:
            raise click.UsageError("give a FILE.zip and --target, or SOURCE BUCKET KEY")
    finally:
        house.close()
    if as_json:
        print_json(result)
    else:
        say(result)
    raise SystemExit(0 if result["state"] in (State.SUCCEEDED, State.SKIPPED) else 1)


def import_object(house: House, source: str, bucket: str, key: str, version: str | None) -> Json:
    """Submits the object and works its deliveries off here; a worker that is faster is watched."""
    deliveries = house.desk.submit(source, bucket, key, version)
    imports = [one for one in deliveries if one.kind == Kind.IMPORT]
    for delivery in imports:
        work_off(house, delivery)
    ended = [house.store.delivery(one.id) or one for one in imports]
    return _told(ended[0]) if ended else {"state": State.SKIPPED, "reason": "no route"}


def work_off(house: House, delivery: Delivery) -> None:
    """Tries the delivery until it ended, by this process or by another."""
    with progress_bar(delivery.key, _size(house, delivery)) as progress:
        while True:
            now = house.store.delivery(delivery.id)
            if now is None or now.state.finished:
                break
            claim = house.worker.claim(Kind.IMPORT, only=delivery.id)
            if claim is None:
                time.sleep(PATIENCE)
                continue
            house.worker.run(claim, progress)
    while claim := house.worker.claim(Kind.MESSAGE):
        house.worker.run(claim)


def import_file(house: House, path: Path, options: dict[str, str]) -> Json:
    """Imports a file straight into a target; not recorded, since no event came into being."""
    if options["target"] not in house.plugins.targets:
        known = ", ".join(house.plugins.targets) or "none"
        raise ConfigError("targets", f"there is no {options['target']}", f"Known: {known}.")
    try:
        outcome = _bring_file(house.plugins.targets[options["target"]], path, options)
    except NothingToDo as nothing:
        return {"state": State.SKIPPED, "reason": nothing.reason}
    except RelayError as error:
        return {"state": State.FAILED, "error": error.problem.to_json()}
    state = State.SKIPPED if isinstance(outcome, Skipped) else State.SUCCEEDED
    reason = outcome.reason if isinstance(outcome, Skipped) else None
    return {"state": state, "reason": reason, "result": plain(outcome.result)}


def _bring_file(target: Target, path: Path, options: dict[str, str]) -> Succeeded | Skipped:
    report = look(path)
    refuse(report)
    event = Event(ObjectRef("", path.name), "", "file")
    function = report.export.function if report.export else None
    order = Order(*routes.names(options, event, function))
    target.check(order, report)
    archive = CheckedArchive(
        path.name, report.size, report, lambda start, end: FileStream(path, start, end)
    )
    wish = Wish(order, options["on_conflict"], utc_now())
    with progress_bar(path.name, report.size) as progress:
        return bring(target, wish, archive, progress)


@contextmanager
def progress_bar(label: str, size: int | None) -> Iterator[Progress]:
    """A bar over the archive's bytes, on a terminal only (click hides it elsewhere)."""
    with click.progressbar(length=size or 0, label=visible(label)[:40], file=sys.stderr) as bar:
        yield bar.update


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


def _size(house: House, delivery: Delivery) -> int | None:
    event = house.store.event(delivery.event_id) if delivery.event_id else None
    return event.object.size if event else None
