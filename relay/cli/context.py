"""The settings and the ledger, which most commands need."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from relay.app.logging import configure
from relay.config.load import Settings, config_path, load, secrets
from relay.errors import ConfigError
from relay.ledger import Ledger
from relay.plugins import settings_class


def config_file() -> Path | None:
    """Return the file named by `--config` or RELAY_CONFIG, else ./relay.toml if it exists."""
    explicit: Path | None = click.get_current_context().find_root().params.get("config")
    return config_path(explicit, os.environ)


def load_settings() -> Settings:
    """Load the settings and log warnings to stderr, with the secrets of the settings redacted.

    ConfigErrors ends the command with exit code 78 and lists every error.
    """
    settings = load(config_file(), os.environ, settings_class)
    handler = configure(sys.stderr, secrets=secrets(settings), level=logging.WARNING)
    click.get_current_context().find_root().call_on_close(
        lambda: logging.getLogger().removeHandler(handler)
    )
    return settings


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger, migrate it to the current schema, and close it at the end."""
    ledger = Ledger.open(settings.database.url)
    try:
        ledger.administration.migrate()
        yield ledger
    finally:
        ledger.close()


def unknown_source(name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a source that the configuration lacks."""
    names = ", ".join(known) or "none"
    return ConfigError("sources", f"there is no source {name}", f"Known: {names}.")
