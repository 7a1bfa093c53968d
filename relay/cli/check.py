"""`relay check`: every error in the configuration, what may surprise, and whether all answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import click

from relay.cli.check_advice import Advice, advise
from relay.cli.context import configuration, configured
from relay.cli.exit_codes import FAILED, MISCONFIGURED
from relay.cli.output import json_option, print_json, style, told, visible
from relay.config.load import Settings
from relay.errors import ConfigErrors, RelayError
from relay.ledger import Ledger
from relay.plugins import Plugins, build, outbound


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of trying one thing. `outcome` is ok, failed or "not tried"."""

    what: str
    outcome: str
    words: str
    hint: str = ""


@click.command("check")
@click.option("--connect", is_flag=True, help="Also try the database and every plug-in.")
@json_option
def command(connect: bool, as_json: bool) -> None:
    """Find every error in the configuration; with --connect, also try what it names."""
    try:
        settings = configured()
    except ConfigErrors as error:
        if not as_json:
            raise
        print_json({"ok": False, "errors": [told(one) for one in error.errors]})
        raise SystemExit(MISCONFIGURED) from None
    advice = list(advise(settings))
    answers = list(try_all(settings)) if connect else []
    failed = any(answer.outcome == "failed" for answer in answers)
    if as_json:
        told_answers = {"connections": [asdict(answer) for answer in answers]} if connect else {}
        warnings = [asdict(one) for one in advice]
        print_json({"ok": not failed, "errors": [], "warnings": warnings, **told_answers})
    else:
        _print(settings, advice, answers)
    raise SystemExit(FAILED if failed else 0)


def try_all(settings: Settings) -> Iterator[CheckResult]:
    """Tries the database, then each source, target and channel; none keeps the others from it."""
    yield _tried("database", lambda: _ledger(settings))
    plugins = build(settings, outbound(settings))
    try:
        for error in plugins.errors:
            yield CheckResult(error.path, "failed", error.message.en, error.hint.en)
        yield from _plug_ins(plugins)
    finally:
        plugins.close()


def _plug_ins(plugins: Plugins) -> Iterator[CheckResult]:
    for name, source in plugins.sources.items():
        yield _tried(f"sources.{name}", source.ready)
    for name, target in plugins.targets.items():
        yield _tried(f"targets.{name}", target.ready)
    for name, channel in plugins.channels.items():
        by_hand = f"not without posting: `relay channels test {name}` posts a test"
        yield _tried(f"channels.{name}", channel.ready, by_hand)


def _tried(
    what: str,
    ready: Callable[[], str | None],
    otherwise: str = "its plug-in has no way to try without acting",
) -> CheckResult:
    try:
        words = ready()
    except RelayError as error:
        return CheckResult(what, "failed", error.message.en, error.hint.en)
    except Exception as bug:  # noqa: BLE001 - a stranger's plug-in must not end the check
        # Only its type: a stranger's words may quote a secret.
        return CheckResult(what, "failed", f"its plug-in has a bug: {type(bug).__name__}")
    if words is None:
        return CheckResult(what, "not tried", otherwise)
    return CheckResult(what, "ok", words)


def _ledger(settings: Settings) -> str:
    ledger = Ledger.open(settings.database.url)
    try:
        ledger.administration.migrate()
        ledger.administration.ping()
    finally:
        ledger.close()
    return "can be written, and is at the newest version"


def _print(settings: Settings, advice: Sequence[Advice], answers: Sequence[CheckResult]) -> None:
    for one in advice:
        words = f"{one.path}: {one.words}. {one.hint}".rstrip()
        click.echo(f"{style('warning', fg='yellow')} {visible(words)}")
    for answer in answers:
        colour = {"ok": "green", "failed": "red"}.get(answer.outcome, "yellow")
        words = f"{answer.what}: {answer.words}. {answer.hint}".rstrip()
        click.echo(f"{style(answer.outcome, fg=colour)} {visible(words)}")
    counts = ", ".join(
        f"{len(named)} {word if len(named) == 1 else word + 's'}"
        for word, named in (
            ("source", settings.sources),
            ("target", settings.targets),
            ("channel", settings.channels),
            ("route", settings.routes),
        )
    )
    path = configuration()
    where = str(path) if path else "no file: defaults and environment"
    click.echo(f"{style('ok', fg='green')} configuration ({where}): {counts}")
