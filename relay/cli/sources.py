"""`relay sources`: lists the sources with their transports and missing settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from relay.cli.check_advice import pulls_queue
from relay.cli.context import load_settings
from relay.cli.output import format_duration, json_option, print_json, style, visible
from relay.cli.sources_capture import capture
from relay.cli.sources_setup import setup
from relay.config.load import Settings, SourceSettings
from relay.errors import ConfigError
from relay.model import Json
from relay.plugins import find
from relay.sources.contract import StorageHandler
from relay.sources.envelopes import ENVELOPES


@click.group("sources", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List sources, set up their storages, or capture notifications."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_sources, as_json=False)


@command.command("list")
@json_option
def list_sources(as_json: bool) -> None:
    """List every source with hook, envelopes, missing settings, queue and scan interval."""
    settings = load_settings()
    sources = [describe(name, source, settings) for name, source in settings.sources.items()]
    if as_json:
        print_json({"sources": sources})
        return
    if not sources:
        click.echo("There is no [sources.NAME] table yet.")
    for source in sources:
        for line in _lines(source):
            click.echo(line)


command.add_command(setup)
command.add_command(capture)


def describe(name: str, source: SourceSettings, settings: Settings) -> Json:
    """Return a source as JSON. `missing` is None for an envelope that is accepted."""
    base = settings.public_url
    return {
        "name": name,
        "kind": source.kind,
        "hook": f"{base.rstrip('/')}/hooks/{name}" if base else None,
        "path": f"/hooks/{name}",
        "envelopes": [
            {"name": envelope, "missing": ENVELOPES[envelope](source).missing_setting()}
            for envelope in source.accept
        ],
        "queue": pulls_queue(source),
        "scan_seconds": _scan_interval(source),
    }


def _scan_interval(source: SourceSettings) -> float | None:
    """Seconds between scans; 0 if only `relay scan` scans it; None if it cannot be listed."""
    try:
        handler: type[StorageHandler] = find("handlers", source.kind)
    except ConfigError:
        return None
    if (handler.scan, handler.scan_pages) == (StorageHandler.scan, StorageHandler.scan_pages):
        return None
    interval = getattr(source, "scan_every", None)
    return float(interval.total_seconds()) if interval else 0.0


def _lines(source: Mapping[str, Any]) -> Iterator[str]:
    yield f"{style(source['name'], bold=True)}  kind {visible(source['kind'])}"
    hook = source["hook"] or f"{source['path']}  (public_url is not set)"
    yield f"  hook   {hook}"
    for envelope in source["envelopes"]:
        missing = envelope["missing"]
        state = style("accepted", fg="green") if missing is None else f"missing: {missing}"
        yield f"         {visible(envelope['name']):12} {state}"
    yield f"  queue  {'polled' if source['queue'] else 'none'}"
    yield f"  scan   {_scan_text(source['scan_seconds'])}"


def _scan_text(seconds: float | None) -> str:
    if seconds is None:
        return "not supported by this kind"
    return f"every {format_duration(seconds)}" if seconds else "manual only: relay scan"
