"""The WSGI entry for any server: `relay.app.wsgi:create()`."""

from __future__ import annotations

import os
import sys

from flask import Flask

from relay import plugins as loader
from relay.app.logging import configure
from relay.app.relay import Relay
from relay.config import load as settings
from relay.web.app import create_app


def create() -> Flask:
    """The app over the configuration that RELAY_CONFIG or ./relay.toml names.

    Its house is `app.extensions["relay"]`; the server starts the worker in it
    (relay.app.gunicorn_config).
    """
    path = settings.config_path(None, os.environ)
    chosen = settings.load(path, os.environ, loader.settings_class)
    configure(sys.stderr, secrets=settings.secrets(chosen))
    house = Relay.open(chosen)
    app = create_app(chosen, house.ledger, house.desk, meters=house.meters)
    app.extensions["relay"] = house
    return app
