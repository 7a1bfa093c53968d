"""`relay retrigger ID...`: makes finished deliveries due again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.main import FAILED
from relay.cli.output import error_as_json, error_text, json_option, print_json, style, visible
from relay.errors import RelayError
from relay.ledger import DeliveryQuery, Ledger
from relay.ledger.history import History
from relay.model import Json, Kind, Localized, Problem, State, utc_now

_GIVE_YES = Localized("Give --yes to overwrite it.", "如需覆盖，请加 --yes。")
_RETRIGGERED_TOO = Localized(
    "The newer upload is retriggered instead. To overwrite it, retrigger this delivery alone.",
    "将改为重新触发该更新的上传。如需覆盖它，请单独重新触发此投递。",
)

FINISHED = [state.value for state in State if state.finished]


@click.command("retrigger")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--state", type=click.Choice(FINISHED), help="All deliveries in this state.")
@click.option("--source", help="With --state: only deliveries of this source.")
@click.option("--route", help="With --state: only deliveries of this route.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="With --state: only deliveries of this kind.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "fail", "update", "rename"]),
    help="Overrides the setting of the route.",
)
@click.option("--yes", is_flag=True, help="Overwrite newer uploads without a question.")
@json_option
def command(
    ids: tuple[str, ...], on_conflict: str | None, yes: bool, as_json: bool, **filters: Any
) -> None:
    """Make deliveries due again: those named, or all in a state. A worker then runs them.

    Asks before an older upload overwrites a newer one in a function. With --state, the newest
    upload is in the function in the end: an older one ends as superseded, or is left out.
    """
    if bool(ids) == (filters["state"] is not None):
        raise click.UsageError("Give either delivery ids or --state, not both.")
    options = {"on_conflict": on_conflict} if on_conflict else None
    with open_ledger(load_settings()) as ledger:
        if ids:
            results = [_retrigger(ledger, id_, options, yes=yes) for id_ in ids]
        else:
            results = _retrigger_all(ledger, list(_matching(ledger.history, filters)), options, yes)
    if as_json:
        print_json(results)
    else:
        _print(results)
    raise SystemExit(FAILED if any("error" in result for result in results) else 0)


def _matching(history: History, filters: dict[str, Any]) -> Iterator[str]:
    kind = Kind(filters["kind"]) if filters["kind"] else None
    query = DeliveryQuery(**{**filters, "state": State(filters["state"]), "kind": kind}, limit=200)
    while True:
        page = history.deliveries(query)
        yield from (delivery.id for delivery in page.items)
        if not page.next_cursor:
            return
        query = replace(query, cursor=page.next_cursor)


def newer_import(ledger: Ledger, delivery_id: str, options: Json | None = None) -> Json | None:
    """Return the newer upload that an update by this delivery would overwrite."""
    delivery = ledger.history.delivery(delivery_id)
    if delivery is None or {**delivery.options, **(options or {})}.get("on_conflict") != "update":
        return None
    newer = ledger.functions.overwritten_by(delivery_id)
    return newer.as_json() if newer else None


def confirm_overwrite(newer: Json) -> bool:
    """Ask whether a newer upload may be overwritten; False without a terminal."""
    if not _is_interactive():
        return False
    upload = visible(describe_upload(newer).en)
    question = f"The function holds a newer upload: {upload}. Overwrite it?"
    return click.confirm(question, err=True)


def describe_upload(newer: Json) -> Localized:
    """Name an upload that a function holds."""
    name, uploaded, delivery = (
        f"{newer['bucket']}/{newer['key']}",
        newer["uploaded"],
        newer["delivery"],
    )
    return Localized(
        f"{name}, uploaded {uploaded} (delivery {delivery})",
        f"{name}，上传于 {uploaded}（投递 {delivery}）",
    )


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _retrigger_all(
    ledger: Ledger, delivery_ids: Sequence[str], options: dict[str, str] | None, yes: bool
) -> list[dict[str, Any]]:
    """Retrigger deliveries, oldest first, so that the newest upload of a function is imported last.

    An older upload that fails and is retried after a newer one ends as superseded. `delivery_ids`
    are in the order of the list: newest first.
    """
    chosen, results = frozenset(delivery_ids), []
    for id_ in reversed(delivery_ids):
        newer = newer_import(ledger, id_, options)
        if newer and newer["delivery"] in chosen:
            results.append(_left_out(id_, newer, _RETRIGGERED_TOO))
        else:
            results.append(_retrigger(ledger, id_, options, yes=yes, is_bulk=True))
    return results


def _retrigger(
    ledger: Ledger,
    delivery_id: str,
    options: dict[str, str] | None,
    *,
    yes: bool,
    is_bulk: bool = False,
) -> dict[str, Any]:
    newer = newer_import(ledger, delivery_id, options)
    if newer and not (yes or confirm_overwrite(newer)):
        return _left_out(delivery_id, newer, _GIVE_YES)
    try:
        delivery = ledger.retriggers.retrigger(
            delivery_id,
            utc_now(),
            options=options,
            by="command",
            overwrites_newer=bool(newer) or not is_bulk,
        )
    except RelayError as error:
        return {"id": delivery_id, "error": error_as_json(error)}
    overwrites = {"overwrites": newer} if newer else {}
    return {"id": delivery.id, "state": delivery.state, **overwrites}


def _left_out(delivery_id: str, newer: Json, hint: Localized) -> dict[str, Any]:
    upload = describe_upload(newer)
    message = Localized(
        f"The function holds a newer upload: {upload.en}", f"该函数中已是更新的上传：{upload.zh}"
    )
    error = error_as_json(Problem("function.newer", message, hint))
    return {"id": delivery_id, "overwrites": newer, "error": error}


def _print(results: list[dict[str, Any]]) -> None:
    for result in results:
        if "error" in result:
            error = result["error"]
            text = error_text(error["message"], error["hint"])
            click.echo(f"{result['id']}  {style('not', fg='red')}  {visible(text)}")
        else:
            click.echo(f"{result['id']}  {style('due now', fg='green')}")
    if not results:
        click.echo("no such deliveries")
