"""A complete Relay with a source of every kind, each of which accepts every envelope."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from relay import plugins as loader
from relay.app.relay import Relay
from relay.config.load import Settings
from relay.intake.intake import SECRETS
from relay.ledger import Ledger
from relay.model import Incoming, Json
from relay.sources.envelopes import ENVELOPES
from relay.web.app import create_app
from tests.producers import World

SAMPLES: Json = {
    "account": "acc",
    "endpoint_url": "http://127.0.0.1:9",
    "folder": "/",
    "namespace": "tenancy",
    "region": "us-east-1",
}
"""Values for settings that several kinds require."""


def sample_settings(kind: str) -> Json:
    """Enough settings for a source of this kind; other required settings need `examples`."""
    fields = loader.settings_class("handlers", kind).model_fields
    required = {
        name: field.examples[0]
        for name, field in fields.items()
        if field.is_required() and field.examples
    }
    return {**required, **{name: value for name, value in SAMPLES.items() if name in fields}}


KINDS: dict[str, Json] = {kind: sample_settings(kind) for kind in loader.known("handlers")}
"""The settings of a source of each kind."""


class Fetcher:
    """The fetch of a world, with the `close` that Relay calls."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, url: str) -> bytes:
        return self.world.fetch(url)

    def close(self) -> None:
        pass


def source_table(kind: str, **keys: Any) -> Json:
    """The table [sources.NAME] of a kind that accepts every envelope."""
    return {"kind": kind, "accept": list(ENVELOPES), **KINDS[kind], **keys}


@contextmanager
def open_relay(
    folder: Path,
    sources: Mapping[str, Json],
    world: World,
    clock: Callable[[], Any],
    **tables: Any,
) -> Iterator[tuple[Relay, Flask]]:
    """Open a Relay and its web app, without a worker."""
    url = f"sqlite:///{folder}/relay.db"
    settings = Settings.model_validate(
        {
            "database": {"url": url},
            "sources": {
                name: loader.find("handlers", keys["kind"]).Settings.model_validate(keys)
                for name, keys in sources.items()
            },
            **tables,
        }
    )
    ledger = Ledger.open(url)
    ledger.administration.migrate()
    plugins = loader.build(settings, loader.outbound(settings))
    relay = Relay(settings, ledger, plugins, clock=clock, fetcher=Fetcher(world))  # type: ignore[arg-type]
    try:
        yield (
            relay,
            create_app(relay.ledger, relay.intake, relay.operations, metrics=relay.metrics),
        )
    finally:
        relay.close()


def post(app: Flask, incoming: Incoming, source: str) -> Any:
    """The response to a request through WSGI."""
    return app.test_client().open(
        f"/hooks/{source}",
        method=incoming.method,
        data=incoming.body,
        headers=list(incoming.headers.items()),
        query_string=incoming.raw_query or None,
    )


def stored_body(body: bytes) -> bytes:
    """The body that the ledger should store: without the documented secrets."""
    return SECRETS.sub(rb"\1redacted", body)


def read_case(case: Path) -> tuple[dict[str, str], bytes]:
    """Headers and body of a case in tests/notifications."""
    head, _, body = case.read_bytes().partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in lines}
    return {name: value for name, value in headers.items() if name not in LENGTHS}, body


LENGTHS = ("host", "content-length", "transfer-encoding", "connection")


def load_json(body: bytes) -> Any:
    """The JSON in a body; None when it is invalid."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
