"""`relay plan`: the dry run of an import, for an object of a source or for a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from relay.app.relay import Relay
from relay.cli.archive_file import check_target, file_event, open_file, target_options
from relay.cli.context import load_settings
from relay.cli.main import FAILED
from relay.cli.output import json_option, print_json, style, visible
from relay.delivery.plan import describe
from relay.model import Difference, Json, NewDelivery

SIGNS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", None)}


@click.command("plan")
@click.argument("what", nargs=-1, required=True, metavar="FILE.zip | SOURCE BUCKET KEY")
@click.option("--version", help="The version of the object.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@target_options
@json_option
def command(
    what: tuple[str, ...], version: str | None, language: str, as_json: bool, **options: str
) -> None:
    """Show what an archive contains and what an import would do, without changing anything.

    For a FILE.zip, only the archive is checked, and no configuration is needed. With --target, the
    existing function in the target is compared as well. SOURCE BUCKET KEY names an object; the
    route of the object selects the target. Exits with 1 if the import would fail.
    """
    if len(what) == 1:
        plan = plan_file(Path(what[0]), options)
    elif len(what) == 3 and not options["target"]:
        with closing(Relay.open(load_settings())) as relay:
            plan = relay.operations.plan(*what, version=version)
    else:
        raise click.UsageError("give a FILE.zip, with or without --target, or SOURCE BUCKET KEY")
    if as_json:
        print_json(plan)
    else:
        _print(plan, language)
    would_fail = plan.get("would", {}).get("action") == "fail"
    raise SystemExit(FAILED if would_fail or not plan["archive"]["importable"] else 0)


def plan_file(path: Path, options: dict[str, str]) -> Json:
    """Plan the import of a file. Without a target, only describe the archive."""
    if not options["target"]:
        return {"archive": describe(open_file(path).report)}
    archive, name = open_file(path), options["target"]
    with closing(Relay.open(load_settings())) as relay:
        check_target(relay, name)
        return relay.operations.planner.plan_archive(
            archive, file_event(path), NewDelivery("", name, dict(options))
        )


def _print(plan: Json, language: str) -> None:
    archive = plan["archive"]
    click.echo(f"{archive['size']:,} bytes, {len(archive['entries'])} entries")
    if export := archive["export"]:
        runtime = export["properties"]["Runtime"]
        click.echo(f"function {visible(export['function'])}, runtime {visible(runtime)}")
    for finding in archive["findings"]:
        sign, colour = SIGNS[finding["level"]]
        message = visible(finding["message"][language])
        click.echo(f"{style(sign, fg=colour)} {finding['code']}: {message}")
        if finding["hint"][language]:
            click.echo(f"    {visible(finding['hint'][language])}")
    for name in ("route", "target", "order", "held", "would"):
        if plan.get(name):
            click.echo(f"{name:7} {visible(_line(plan[name]))}")
    if archive["importable"] and "would" not in plan:
        click.echo(style("importable", fg="green"))


def _line(value: Json | str) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(f"{name} {_item(item)}" for name, item in value.items() if item is not None)


def _item(item: object) -> str:
    if not isinstance(item, list):
        return str(item)
    texts = (Difference.from_json(i).words.en if isinstance(i, dict) else str(i) for i in item)
    return "; ".join(texts)
