"""`relay sources`: what there is, how its storages are set up, what they really sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from relay.cli.check_advice import pulls
from relay.cli.context import configured
from relay.cli.output import json_option, print_json, span, style, visible
from relay.cli.sources_capture import capture
from relay.cli.sources_setup import setup
from relay.config.load import Settings, SourceSettings
from relay.errors import ConfigError
from relay.model import Json
from relay.plugins import find
from relay.sources.contract import StorageHandler
from relay.sources.envelopes import ENVELOPES

NOWHERE = "public_url is not set"


@click.group("sources", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List sources; set up their storages; capture notifications."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(listing, as_json=False)


@command.command("list")
@json_option
def listing(as_json: bool) -> None:
    """Every source: by which roads its news comes, and what is missing for it."""
    settings = configured()
    told = [describe(name, source, settings) for name, source in settings.sources.items()]
    if as_json:
        print_json({"sources": told})
        return
    if not told:
        click.echo("There is no [sources.NAME] table yet.")
    for one in told:
        for line in _lines(one):
            click.echo(line)


command.add_command(setup)
command.add_command(capture)


def describe(name: str, source: SourceSettings, settings: Settings) -> Json:
    """One source as JSON tells of it. `missing`: None where the envelope is offered."""
    base = settings.public_url
    return {
        "name": name,
        "kind": source.kind,
        "hook": f"{base.rstrip('/')}/hooks/{name}" if base else None,
        "path": f"/hooks/{name}",
        "envelopes": [
            {"name": envelope, "missing": _missing(envelope, source)} for envelope in source.accept
        ],
        "queue": pulls(source),
        "scan_seconds": _scan(source),
    }


def _missing(name: str, source: SourceSettings) -> str | None:
    return ENVELOPES[name](source).missing_setting()


def _scan(source: SourceSettings) -> float | None:
    """How often it is scanned; 0: when somebody asks for it; None: it cannot be."""
    try:
        handler: type[StorageHandler] = find("handlers", source.kind)
    except ConfigError:
        return None
    own = (handler.scan, handler.scan_pages)
    if own == (StorageHandler.scan, StorageHandler.scan_pages):
        return None
    every = getattr(source, "scan_every", None)
    return float(every.total_seconds()) if every else 0.0


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    yield f"{style(one['name'], bold=True)}  kind {visible(one['kind'])}"
    hook = one["hook"] or f"{one['path']}  ({NOWHERE})"
    yield f"  hook   {hook}"
    for envelope in one["envelopes"]:
        missing = envelope["missing"]
        state = style("offered", fg="green") if missing is None else f"missing: {missing}"
        yield f"         {visible(envelope['name']):12} {state}"
    yield f"  queue  {'pulled' if one['queue'] else 'none'}"
    yield f"  scan   {_scanned(one['scan_seconds'])}"


def _scanned(seconds: float | None) -> str:
    if seconds is None:
        return "this kind cannot be listed"
    return f"every {span(seconds)}" if seconds else "by hand only: relay scan"
