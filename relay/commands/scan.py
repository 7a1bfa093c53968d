"""`relay scan SOURCE`: enqueue what no event announced."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import click

from relay.commands.context import configured
from relay.commands.printing import Moment, json_option, print_json
from relay.errors import ConfigError
from relay.house import House

SHOWN = 20


@click.command("scan")
@click.argument("source")
@click.option("--since", type=Moment(), help='Only objects modified since then, such as "2d".')
@click.option(
    "--all", "everything", is_flag=True, help="Import what is there, in a first scan too."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be enqueued.")
@json_option
def command(
    source: str, since: datetime | None, everything: bool, dry_run: bool, as_json: bool
) -> None:
    """Lists SOURCE and enqueues the objects that no event announced.

    The first scan of a source marks what is there as seen, unless --all is given.
    """
    house = House.open(configured())
    try:
        if source not in house.plugins.sources:
            known = ", ".join(house.plugins.sources) or "none"
            raise ConfigError("sources", f"there is no source {source}", f"Known: {known}.")
        handler = house.plugins.sources[source]
        if dry_run:
            unknown = house.puller.unknown(handler, since)
            keys = [f"{one.object.bucket}/{one.object.key}" for one in islice(unknown, 1000)]
            told: dict[str, object] = {"would_enqueue": keys}
        else:
            told = house.puller.scan_once(handler, since, everything=everything)
    finally:
        house.close()
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        shown = value if not isinstance(value, list) else len(value)
        click.echo(f"{name.replace('_', ' '):14} {shown}")
        for key in value[:SHOWN] if isinstance(value, list) else ():
            click.echo(f"  {key}")
