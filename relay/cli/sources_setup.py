"""`relay sources setup NAME`: what to do at the storage, or `--apply`: doing it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import click

from relay.cli.context import configuration, configured
from relay.cli.output import json_option, print_json, style, visible
from relay.config.load import Settings
from relay.config.toml_file import read_file
from relay.errors import ConfigError
from relay.model import Json
from relay.plugins import find
from relay.sources.contract import StorageHandler
from relay.sources.setup.steps import SetupContext, Step

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


@click.command("setup")
@click.argument("name")
@click.option("--apply", "do_it", is_flag=True, help="Do what can be done from here.")
@click.option("--yes", is_flag=True, help="Do not ask before doing it.")
@click.option("--arn", metavar="ARN", help="The destination that the store already has for Relay.")
@json_option
def setup(name: str, do_it: bool, yes: bool, arn: str | None, as_json: bool) -> None:
    """What to configure at the storage so that its notifications reach source NAME.

    With --apply, S3-compatible stores, SQS and SNS are configured from here, with the source's own
    keys: what others configured is kept, and a second run changes nothing.
    """
    settings = configured()
    if as_json and do_it and not yes:
        raise click.UsageError("--apply --json cannot ask: add --yes.")
    door = door_of(name, settings, arn)
    handler: StorageHandler = find("handlers", door.settings.kind)(name, door.settings)
    try:
        if do_it:
            _apply(handler, door, yes=yes, as_json=as_json)
        else:
            _show(door, list(handler.setup(door)), as_json=as_json)
    finally:
        handler.close()


def door_of(name: str, settings: Settings, arn: str | None = None) -> SetupContext:
    """Where the source's notifications come in. ConfigError: there is no such source."""
    if name not in settings.sources:
        known = ", ".join(settings.sources) or "none"
        raise ConfigError("sources", f"there is no source {name}", f"Known: {known}.")
    source = settings.sources[name]
    variables = _variables(name, os.environ)
    return SetupContext(name, source, settings.routes, settings.public_url, arn, variables)


def _variables(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Which environment variable each setting of a source comes from, as far as one does."""
    path = configuration()
    table = read_file(path).get("sources", {}).get(name, {}) if path else {}
    found = {}
    for key, value in table.items():
        if isinstance(value, str) and (reference := _REFERENCE.search(value)):
            found[key] = reference[1]
    prefix = f"RELAY_SOURCES__{name.upper().replace('-', '_')}__"
    for variable in environ:
        if variable.startswith(prefix):
            found[variable.removeprefix(prefix).lower()] = variable
    return found


def _secrets(door: SetupContext, steps: list[Step]) -> list[Json]:
    """The secrets that the steps name: the variable of each, and whether the source has it."""
    text = "\n".join(f"{step.title.en}\n{step.text}" for step in steps)
    return [
        {"setting": key, "variable": door.variable(key), "is_set": door.has(key)}
        for key in ("token", "secret")
        if re.search(rf"\$\{{?{door.variable(key)}\b", text) or f"var.hook_{key}" in text
    ]


def _show(door: SetupContext, steps: list[Step], *, as_json: bool) -> None:
    secrets = _secrets(door, steps)
    if as_json:
        print_json(
            {
                "source": door.source,
                "kind": door.settings.kind,
                "hook": door.url if door.public_url else None,
                "path": door.path,
                "secrets": secrets,
                "steps": [_told(step) for step in steps],
            }
        )
        return
    click.echo(f"{style('hook', bold=True)}    {door.url}")
    if not door.public_url:
        click.echo(
            f"{style('warning', fg='yellow')} public_url is not set: put Relay's own address in "
            "place of the one shown, or set it in relay.toml"
        )
    for one in secrets:
        state = "" if one["is_set"] else style("  (it is not set yet)", fg="yellow")
        where = f"{one['setting']} of [sources.{door.source}]"
        click.echo(f"{style('secret', bold=True)}  ${one['variable']}: {where}{state}")
    for number, step in enumerate(steps, 1):
        _print(number, step)


def _print(number: int, step: Step) -> None:
    click.echo()
    click.echo(style(f"{number}. {visible(step.title.en)}", bold=True))
    if step.file:
        click.echo(f"   {step.file}:")
    for line in step.text.splitlines():
        click.echo(f"   {visible(line)}".rstrip())


def _told(step: Step) -> Json:
    return {
        "title": step.title.en,
        "kind": step.kind,
        "text": step.text,
        "file": step.file or None,
    }


def _apply(handler: StorageHandler, door: SetupContext, *, yes: bool, as_json: bool) -> None:
    planned = [(change.what.en, change.is_so()) for change in handler.changes(door)]
    if not planned:
        raise ConfigError(
            f"sources.{door.source}",
            f"kind {door.settings.kind} cannot be set up from here",
            f"Follow the steps of: relay sources setup {door.source}",
        )
    if not as_json:
        for what, is_so in planned:
            mark = style("is so", fg="green") if is_so else style("to do", fg="yellow")
            click.echo(f"{mark}  {visible(what)}")
    missing = [what for what, is_so in planned if not is_so]
    if missing and not yes:
        click.confirm("Do it?", abort=True)
    done = _make(handler, door, say=not as_json) if missing else []
    if as_json:
        told = [{"what": what, "changed": what in done} for what, _ in planned]
        print_json({"source": door.source, "changes": told})
    elif not missing:
        click.echo("Nothing to change.")


def _make(handler: StorageHandler, door: SetupContext, *, say: bool) -> list[str]:
    """Looks again before each: between the plan and the consent somebody else may have been."""
    done = []
    for change in handler.changes(door):
        if change.is_so():
            continue
        change.make()
        done.append(change.what.en)
        if say:
            click.echo(f"{style('done', fg='green')}   {visible(change.what.en)}")
    return done
