"""What commands begin with: the settings asked for, and the ledger they name."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from relay import plugins as loader
from relay.app import logging as logs
from relay.config.load import Settings, config_path, load, secrets
from relay.ledger import Ledger


def configuration() -> Path | None:
    """The file that `--config`, RELAY_CONFIG or the working directory names, or None."""
    explicit: Path | None = click.get_current_context().find_root().params.get("config")
    return config_path(explicit, os.environ)


def configured() -> Settings:
    """The settings. ConfigErrors ends the command with 78 and every error told.

    From here on warnings are logged on stderr, without the settings' secrets.
    """
    settings = load(configuration(), os.environ, loader.settings_class)
    handler = logs.configure(sys.stderr, secrets=secrets(settings), level=logging.WARNING)
    click.get_current_context().find_root().call_on_close(
        lambda: logging.getLogger().removeHandler(handler)
    )
    return settings


@contextmanager
def opened(settings: Settings) -> Iterator[Ledger]:
    """The ledger, brought to the newest version, closed at the end."""
    ledger = Ledger.open(settings.database.url)
    try:
        ledger.administration.migrate()
        yield ledger
    finally:
        ledger.close()
