"""The WSGI entry for any server: `relay.wsgi:create()`."""

from __future__ import annotations

import os
import sys

from flask import Flask

from relay import loader, logs, settings
from relay.app import create_app
from relay.house import House


def create() -> Flask:
    """The app over the configuration that RELAY_CONFIG or ./relay.toml names.

    Its house is `app.extensions["relay"]`; the server starts the worker in it (relay.server).
    """
    path = settings.config_path(None, os.environ)
    chosen = settings.load(path, os.environ, loader.settings_class)
    logs.configure(sys.stderr, secrets=settings.secrets(chosen))
    house = House.open(chosen)
    app = create_app(chosen, house.store, house.desk, meters=house.meters)
    app.extensions["relay"] = house
    return app
