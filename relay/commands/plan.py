"""`relay plan`: the dry run, for an object of a source or for a file."""

from __future__ import annotations

from pathlib import Path

import click

from relay.archive import ArchiveReport, inspect
from relay.commands.context import configured
from relay.commands.printing import json_option, print_json, style, visible
from relay.house import House
from relay.model import Json
from relay.plan import describe

SIGNS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", None)}


@click.command("plan")
@click.argument("what", nargs=-1, required=True, metavar="FILE.zip | SOURCE BUCKET KEY")
@click.option("--version", help="Which version of the object.")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True)
@json_option
def command(what: tuple[str, ...], version: str | None, language: str, as_json: bool) -> None:
    """Says what lies in an archive and what would happen to it; changes nothing anywhere.

    A FILE.zip is checked as the archive it is (needs no configuration); SOURCE BUCKET KEY names
    an object, its route and target are asked as well. Ends with 1 when it would fail.
    """
    if len(what) == 1:
        plan: Json = {"archive": describe(look(Path(what[0])))}
    elif len(what) == 3:
        house = House.open(configured())
        try:
            plan = house.desk.plan(*what, version=version)
        finally:
            house.close()
    else:
        raise click.UsageError("give one FILE.zip, or SOURCE BUCKET KEY")
    if as_json:
        print_json(plan)
    else:
        show(plan, language)
    failing = plan.get("would", {}).get("action") == "fail"
    raise SystemExit(1 if failing or not plan["archive"]["importable"] else 0)


def look(path: Path) -> ArchiveReport:
    """The report on a file; click's UsageError when it cannot be read."""
    try:
        with path.open("rb") as file:

            def read(start: int, end: int) -> bytes:
                file.seek(start)
                return file.read(end - start)

            return inspect(path.stat().st_size, read)
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None


def show(plan: Json, language: str) -> None:
    """The plan as a good linter would say it."""
    archive = plan["archive"]
    click.echo(f"{archive['size']:,} bytes, {len(archive['entries'])} entries")
    if export := archive["export"]:
        runtime = export["properties"]["Runtime"]
        click.echo(f"function {visible(export['function'])}, runtime {visible(runtime)}")
    for finding in archive["findings"]:
        sign, colour = SIGNS[finding["level"]]
        words = visible(finding["message"][language])
        click.echo(f"{style(sign, fg=colour)} {finding['code']}: {words}")
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
    return ", ".join(f"{name} {one}" for name, one in value.items() if one is not None)
