"""`relay sources setup NAME`: shows how to configure the storage, or configures it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import click

from relay.cli.context import config_file, load_settings, unknown_source
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
@click.option("--apply", "do_apply", is_flag=True, help="Apply the changes that Relay can make.")
@click.option("--yes", is_flag=True, help="Apply without a confirmation prompt.")
@click.option("--arn", metavar="ARN", help="The notification target that the storage already has.")
@json_option
def setup(name: str, do_apply: bool, yes: bool, arn: str | None, as_json: bool) -> None:
    """Show how to configure the storage so that it sends notifications to source NAME.

    With --apply, configures S3-compatible storages, SQS and SNS with the credentials of the source.
    Existing configuration is kept, and a second run changes nothing.
    """
    settings = load_settings()
    if as_json and do_apply and not yes:
        raise click.UsageError("--apply --json has no prompt: add --yes.")
    context = setup_context(name, settings, arn)
    handler: StorageHandler = find("handlers", context.settings.kind)(name, context.settings)
    try:
        if do_apply:
            _apply(handler, context, yes=yes, as_json=as_json)
        else:
            _show(context, list(handler.setup(context)), as_json=as_json)
    finally:
        handler.close()


def setup_context(name: str, settings: Settings, arn: str | None = None) -> SetupContext:
    """Return where the notifications of the source must be sent. Raises ConfigError."""
    if name not in settings.sources:
        raise unknown_source(name, settings.sources)
    source = settings.sources[name]
    variables = _variables(name, os.environ)
    return SetupContext(name, source, settings.routes, settings.public_url, arn, variables)


def _variables(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Map each setting of a source to the environment variable that holds it, if there is any."""
    path = config_file()
    table = read_file(path).get("sources", {}).get(name, {}) if path else {}
    variables = {}
    for key, value in table.items():
        if isinstance(value, str) and (reference := _REFERENCE.search(value)):
            variables[key] = reference[1]
    prefix = f"RELAY_SOURCES__{name.upper().replace('-', '_')}__"
    for variable in environ:
        if variable.startswith(prefix):
            variables[variable.removeprefix(prefix).lower()] = variable
    return variables


def _secrets(context: SetupContext, steps: list[Step]) -> list[Json]:
    """Return the secrets that the steps refer to: the variable, and whether it is set."""
    text = "\n".join(f"{step.title.en}\n{step.text}" for step in steps)
    return [
        {"setting": key, "variable": context.variable(key), "is_set": context.has(key)}
        for key in ("token", "secret")
        if re.search(rf"\$\{{?{context.variable(key)}\b", text) or f"var.hook_{key}" in text
    ]


def _show(context: SetupContext, steps: list[Step], *, as_json: bool) -> None:
    secrets = _secrets(context, steps)
    if as_json:
        print_json(
            {
                "source": context.source,
                "kind": context.settings.kind,
                "hook": context.url if context.public_url else None,
                "path": context.path,
                "secrets": secrets,
                "steps": [_step_as_json(step) for step in steps],
            }
        )
        return
    click.echo(f"{style('hook', bold=True)}    {context.url}")
    if not context.public_url:
        click.echo(
            f"{style('warning', fg='yellow')} public_url is not set: set it in relay.toml, or "
            "replace the host above with Relay's own address"
        )
    for secret in secrets:
        state = "" if secret["is_set"] else style("  (it is not set yet)", fg="yellow")
        setting = f"{secret['setting']} of [sources.{context.source}]"
        click.echo(f"{style('secret', bold=True)}  ${secret['variable']}: {setting}{state}")
    for number, step in enumerate(steps, 1):
        _print_step(number, step)


def _print_step(number: int, step: Step) -> None:
    click.echo()
    click.echo(style(f"{number}. {visible(step.title.en)}", bold=True))
    if step.file:
        click.echo(f"   {step.file}:")
    for line in step.text.splitlines():
        click.echo(f"   {visible(line)}".rstrip())


def _step_as_json(step: Step) -> Json:
    return {
        "title": step.title.en,
        "kind": step.kind,
        "text": step.text,
        "file": step.file or None,
    }


def _apply(handler: StorageHandler, context: SetupContext, *, yes: bool, as_json: bool) -> None:
    changes = [(change.description.en, change.is_applied()) for change in handler.changes(context)]
    if not changes:
        raise ConfigError(
            f"sources.{context.source}",
            f"Relay cannot configure storages of kind {context.settings.kind}",
            f"Follow the steps of: relay sources setup {context.source}",
        )
    if not as_json:
        for what, is_applied in changes:
            label = style("in place", fg="green") if is_applied else style("to do", fg="yellow")
            click.echo(f"{label}  {visible(what)}")
    pending = [what for what, is_applied in changes if not is_applied]
    if pending and not yes:
        click.confirm("Apply these changes?", abort=True)
    done = _apply_changes(handler, context, verbose=not as_json) if pending else []
    if as_json:
        results = [{"what": what, "changed": what in done} for what, _ in changes]
        print_json({"source": context.source, "changes": results})
    elif not pending:
        click.echo("Nothing to change.")


def _apply_changes(handler: StorageHandler, context: SetupContext, *, verbose: bool) -> list[str]:
    """Apply the pending changes. Each is checked again: it may have been made meanwhile."""
    done = []
    for change in handler.changes(context):
        if change.is_applied():
            continue
        change.apply()
        done.append(change.description.en)
        if verbose:
            click.echo(f"{style('done', fg='green')}   {visible(change.description.en)}")
    return done
