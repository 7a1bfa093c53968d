"""What is allowed in a configuration and may yet surprise; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from relay.config.load import Settings, SourceSettings
from relay.config.routing import labelled
from relay.plugins import find
from relay.sources.contract import StorageHandler
from relay.sources.envelopes import ENVELOPES

_SHORT_TOKEN = 16
_QUEUES = ("sqs_queue_url", "subscription", "queue_url", "queue_id")
"""What kinds call the queue that they pull from, where a source may do without one."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing worth knowing. `path` is its place in relay.toml."""

    path: str
    words: str
    hint: str = ""


def advise(settings: Settings) -> Iterator[Advice]:
    """Everything worth knowing about settings that are right as such."""
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
    yield from _shadowed(settings)
    if settings.channels and not settings.public_url:
        yield Advice("public_url", "is not set: messages hold no links to their deliveries")


def _access(settings: Settings) -> Iterator[Advice]:
    if not settings.api.tokens:
        yield Advice(
            "api.tokens",
            "there is none: the API and the pages answer on loopback only",
            "Set one, at least 16 characters long, to reach them from elsewhere.",
        )
    for number, token in enumerate(settings.api.tokens):
        if len(token.get_secret_value()) < _SHORT_TOKEN:
            yield Advice(f"api.tokens[{number}]", f"is shorter than {_SHORT_TOKEN} characters")
    url = urlsplit(settings.public_url or "")
    if url.scheme == "http" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield Advice("public_url", "is http: tokens and notifications travel readable by others")


def _source(name: str, source: SourceSettings) -> Iterator[Advice]:
    path = f"sources.{name}"
    missing = [ENVELOPES[kind](source).missing_setting() for kind in source.accept]
    if all(missing) and not pulls(source):
        yield Advice(
            path,
            "nothing can be posted to it: no envelope has what it verifies senders with",
            f"Set {' or '.join(dict.fromkeys(map(str, missing)))}." if missing else "",
        )
    if source.token and len(source.token.get_secret_value()) < _SHORT_TOKEN:
        yield Advice(f"{path}.token", f"is shorter than {_SHORT_TOKEN} characters")


def pulls(source: SourceSettings) -> bool:
    """Whether it also gets its notifications without anybody posting them."""
    named = [getattr(source, key) for key in _QUEUES if hasattr(source, key)]
    if named:
        return any(named)
    return bool(find("handlers", source.kind).queue is not StorageHandler.queue)


def _unused(settings: Settings) -> Iterator[Advice]:
    told = {channel for route in settings.routes for channel in route.channels}
    for group, tables, used, words in (
        (
            "sources",
            settings.sources,
            {route.source for route in settings.routes},
            "no route takes",
        ),
        ("targets", settings.targets, {route.target for route in settings.routes}, "no route uses"),
        ("channels", settings.channels, told, "no route tells"),
    ):
        for name in tables.keys() - used:
            yield Advice(f"{group}.{name}", f"{words} it")


def _shadowed(settings: Settings) -> Iterator[Advice]:
    greedy: dict[str, str] = {}
    for number, (label, route) in enumerate(labelled(settings.routes)):
        if earlier := greedy.get(route.source):
            yield Advice(f"routes[{number}]", f"never matches: route {earlier} takes everything")
        if route.bucket.strip("*") == route.key.strip("*") == "":
            greedy.setdefault(route.source, label)
