"""Advice of `relay check`: valid settings that may surprise. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.config.doubtful_keys import doubt
from relay.config.load import Settings, SourceSettings
from relay.config.unreachable import unreachable_routes
from relay.plugins import find
from relay.sources.contract import StorageHandler
from relay.sources.envelopes import ENVELOPES

_SHORT_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Advice:
    """A warning about the setting at `path` in relay.toml."""

    path: str
    words: str
    hint: str = ""


def advise(settings: Settings) -> Iterator[Advice]:
    """Yield every warning about valid settings."""
    yield from _access(settings)
    for name, source in settings.sources.items():
        yield from _source(name, source)
    for group, tables in (
        ("sources", settings.sources),
        ("targets", settings.targets),
        ("channels", settings.channels),
    ):
        for name, table in tables.items():
            for words, hint in table.advise():
                yield Advice(f"{group}.{name}", words, hint)
    yield from _unused(settings)
    yield from _routes(settings)
    if settings.channels and not settings.public_url:
        yield Advice("public_url", "is not set: messages have no links to their deliveries")


def _access(settings: Settings) -> Iterator[Advice]:
    if not settings.api.tokens:
        yield Advice(
            "api.tokens",
            "is empty: the API and the pages respond on loopback only",
            "Set a token of at least 16 characters to use them from other hosts.",
        )
    for number, token in enumerate(settings.api.tokens):
        if len(token.get_secret_value()) < _SHORT_TOKEN:
            yield Advice(f"api.tokens[{number}]", f"is shorter than {_SHORT_TOKEN} characters")
    url = urlsplit(settings.public_url or "")
    if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield Advice("public_url", "is http: tokens and notifications are sent unencrypted")


def _source(name: str, source: SourceSettings) -> Iterator[Advice]:
    path = f"sources.{name}"
    missing = [ENVELOPES[kind](source).missing_setting() for kind in source.accept]
    if all(missing) and not pulls_queue(source):
        yield Advice(
            path,
            "rejects every POST: no envelope has the setting that it verifies senders with",
            f"Set {' or '.join(dict.fromkeys(map(str, missing)))}." if missing else "",
        )
    if source.token and len(source.token.get_secret_value()) < _SHORT_TOKEN:
        yield Advice(f"{path}.token", f"is shorter than {_SHORT_TOKEN} characters")


def pulls_queue(source: SourceSettings) -> bool:
    """Return True if the source polls a queue for notifications."""
    handler: type[StorageHandler] = find("handlers", source.kind)
    if handler.queue_settings:
        return any(getattr(source, key) for key in handler.queue_settings)
    return handler.queue is not StorageHandler.queue


def _routes(settings: Settings) -> Iterator[Advice]:
    unreachable = {route.number: route for route in unreachable_routes(settings)}
    for number, route in enumerate(settings.routes):
        if never := unreachable.get(number):
            yield Advice(f"routes[{number}]", never.words, never.hint)
            continue
        source = settings.sources.get(route.source)
        if found := doubt(route.key, {*(source.buckets if source else ()), route.bucket}):
            yield Advice(f"routes[{number}].key", *found)


def _unused(settings: Settings) -> Iterator[Advice]:
    notified = {channel for route in settings.routes for channel in route.channels}
    routed = {route.source for route in settings.routes}
    imported_to = {route.target for route in settings.routes}
    for group, tables, used in (
        ("sources", settings.sources, routed),
        ("targets", settings.targets, imported_to),
        ("channels", settings.channels, notified),
    ):
        for name in tables.keys() - used:
            yield Advice(f"{group}.{name}", "is not used by any route")
