"""`relay check`: configuration errors, advice, and connection tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

import click

from relay.cli.check_advice import Advice, advise
from relay.cli.context import config_file, load_settings, open_ledger
from relay.cli.main import FAILED, MISCONFIGURED
from relay.cli.output import error_as_json, error_text, json_option, print_json, style, visible
from relay.config.database_url import sqlite_file
from relay.config.load import Settings
from relay.errors import ConfigErrors, RelayError
from relay.ledger import Configured, Ledger
from relay.plugins import Plugins, build, outbound


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one connection test. `outcome` is ok, failed or "not tried"."""

    what: str
    outcome: str
    words: str
    hint: str = ""


@click.command("check")
@click.option("--connect", is_flag=True, help="Also test the database and every plug-in.")
@json_option
def command(connect: bool, as_json: bool) -> None:
    """Report every error in the configuration. With --connect, also test the connections."""
    try:
        settings = load_settings()
    except ConfigErrors as error:
        if not as_json:
            raise
        print_json({"ok": False, "errors": [error_as_json(part) for part in error.errors]})
        raise SystemExit(MISCONFIGURED) from None
    advice = [*advise(settings), *_needed_by_deliveries(settings, connect=connect)]
    results = list(check_connections(settings)) if connect else []
    failed = any(result.outcome == "failed" for result in results)
    if as_json:
        warnings = [asdict(item) for item in advice]
        report = {"ok": not failed, "errors": [], "warnings": warnings}
        if connect:
            report["connections"] = [asdict(result) for result in results]
        print_json(report)
    else:
        _print(settings, advice, results)
    raise SystemExit(FAILED if failed else 0)


def check_connections(settings: Settings) -> Iterator[CheckResult]:
    """Test the database, then each source, target and channel. A failure does not stop the rest."""
    yield _check("database", lambda: _database_status(settings))
    plugins = build(settings, outbound(settings))
    try:
        for error in plugins.errors:
            yield CheckResult(error.path, "failed", error.message.en, error.hint.en)
        yield from _check_plug_ins(plugins)
    finally:
        plugins.close()


def _check_plug_ins(plugins: Plugins) -> Iterator[CheckResult]:
    for name, source in plugins.sources.items():
        yield _check(f"sources.{name}", source.ready)
    for name, target in plugins.targets.items():
        yield _check(f"targets.{name}", target.ready)
    for name, channel in plugins.channels.items():
        manual = f"needs a post: `relay channels test {name}` posts a test message"
        yield _check(f"channels.{name}", channel.ready, manual)


def _check(
    what: str,
    ready: Callable[[], str | None],
    not_testable: str = "the plug-in has no test without side effects",
) -> CheckResult:
    try:
        status = ready()
    except RelayError as error:
        return CheckResult(what, "failed", error.message.en, error.hint.en)
    except Exception as bug:  # noqa: BLE001 - a bug in a plug-in must not end the check
        # Show the type only: the text of a foreign exception may quote a secret.
        return CheckResult(what, "failed", f"bug in the plug-in: {type(bug).__name__}")
    if status is None:
        return CheckResult(what, "not tried", not_testable)
    return CheckResult(what, "ok", status)


def _database_status(settings: Settings) -> str:
    with open_ledger(settings) as ledger:
        ledger.administration.ping()
    return "writable, with the current schema"


def _needed_by_deliveries(settings: Settings, *, connect: bool) -> Iterator[Advice]:
    """Yield the tables that the configuration lacks and that deliveries wait for.

    A database file is read only if it exists, because opening it would create it.
    """
    try:
        file = sqlite_file(settings.database.url)
        if file and not file.is_file() and not connect:
            return
        with closing(Ledger.open(settings.database.url)) as ledger:
            missing = ledger.missing.paths(Configured.of(settings))
    except RelayError:
        if not connect:  # otherwise the test of the connection reports it
            yield Advice(
                "database",
                "cannot be read: deliveries may wait for a table that is missing here",
                "`relay check --connect` tests the connection.",
            )
        return
    for path in missing:
        yield Advice(
            path,
            "is missing, and deliveries wait for it",
            f"Put [{path}] back; `relay deliveries --state pending` lists the deliveries.",
        )


def _print(settings: Settings, advice: Sequence[Advice], results: Sequence[CheckResult]) -> None:
    for item in advice:
        text = visible(f"{item.path}: {error_text(item.words, item.hint)}")
        click.echo(f"{style('warning', fg='yellow')} {text}")
    for result in results:
        colour = {"ok": "green", "failed": "red"}.get(result.outcome, "yellow")
        text = visible(f"{result.what}: {error_text(result.words, result.hint)}")
        click.echo(f"{style(result.outcome, fg=colour)} {text}")
    counts = ", ".join(
        f"{len(tables)} {noun if len(tables) == 1 else noun + 's'}"
        for noun, tables in (
            ("source", settings.sources),
            ("target", settings.targets),
            ("channel", settings.channels),
            ("route", settings.routes),
        )
    )
    file = config_file() or "no file: defaults and environment"
    click.echo(f"{style('ok', fg='green')} configuration ({file}): {counts}")
