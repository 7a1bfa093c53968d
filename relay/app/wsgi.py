"""The WSGI entry for any server: `relay.app.wsgi:create()`."""

from __future__ import annotations

import os
import sys

from flask import Flask

from relay.app.logging import configure
from relay.app.relay import Relay
from relay.config.load import config_path, load, secrets
from relay.plugins import settings_class
from relay.web.app import create_app


def create() -> Flask:
    """The app for the configuration that RELAY_CONFIG or ./relay.toml names.

    `app.extensions["relay"]` is the Relay; the server starts the worker
    (see relay.app.gunicorn_config).
    """
    settings = load(config_path(None, os.environ), os.environ, settings_class)
    configure(sys.stderr, secrets=secrets(settings))
    relay = Relay.open(settings)
    app = create_app(relay.ledger, relay.intake, relay.operations, metrics=relay.metrics)
    app.extensions["relay"] = relay
    return app
