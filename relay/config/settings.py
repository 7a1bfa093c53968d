"""The tables of relay.toml with their keys, types and defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    SerializeAsAny,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from relay.config import validators as rules
from relay.config.backoff import Backoff
from relay.config.database_url import database_url
from relay.config.globs import wildcards
from relay.config.senders import SenderSettings
from relay.config.table import Table
from relay.config.templates import WordsSettings
from relay.config.units import Duration, Rate, SchemaInWords, Size

Result = Literal["succeeded", "failed", "skipped"]
Glob = Annotated[str, AfterValidator(rules.glob)]
QuietHours = Annotated[
    rules.Hours | None,
    BeforeValidator(rules.quiet_hours),
    PlainSerializer(rules.hours_words, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "null"},
                {"type": "string", "pattern": "^([0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2})?$"},
            ]
        }
    ),
]
TimeZone = Annotated[str, AfterValidator(rules.time_zone)]
Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(rules.network), WithJsonSchema({"type": "string"})
]


class SourceSettings(SenderSettings):
    """What every source understands; a handler's `Settings` adds its own keys."""

    kind: str = Field(description="which handler: s3, local, ..., or package.module:Class")
    buckets: tuple[str, ...] = Field(
        (), description="the only buckets whose events are taken; none: all"
    )


class TargetSettings(Table):
    """What every target understands; a target's `Settings` adds its own keys."""

    kind: str = Field(description="which target: functiongraph, or package.module:Class")
    concurrency: int = Field(1, ge=1, description="imports at once, over all workers")


class ChannelSettings(Table):
    """What every channel understands; a channel's `Settings` adds its own keys."""

    kind: str = Field(description="which channel: slack, webhook, ..., or package.module:Class")
    language: Literal["en", "zh"] = Field("en", description="the language of its messages")
    on: tuple[Result, ...] = Field(
        ("succeeded", "failed", "skipped"),
        description="which results are told; a target that is down is told where failed is, "
        "and a recovery where its failure was",
    )
    rate: Rate | None = Field(
        None,
        description='the most messages in a time, such as "20/1m"; none: what the service says',
    )
    burst: int = Field(
        10,
        ge=0,
        le=1000,
        description="when more messages than this come within a minute, or wait, they are told in "
        "one digest; 0: never",
    )
    quiet_hours: QuietHours = Field(
        None, description='hours in which only `urgent` results are told, such as "22:00-07:00"'
    )
    timezone: TimeZone = Field(
        "UTC", description="the time zone of quiet_hours, such as Asia/Shanghai"
    )
    urgent: tuple[Result, ...] = Field(
        ("failed",), description="which results are told in quiet_hours too"
    )
    words: WordsSettings = Field(
        WordsSettings(), description="Jinja templates of the card's own words, see deploy/README.md"
    )


class Route(Table):
    """Events of a source that match -> one target, its options, the channels to tell."""

    name: Annotated[str, AfterValidator(rules.name)] | None = Field(
        None, description="what the route is called; without it, its source and number"
    )
    source: str = Field(description="the name of a [sources.NAME] table")
    bucket: Glob = Field("*", description="glob over the bucket's name")
    key: Glob = Field("*.zip", description="glob over the object's key; * also matches /")
    target: str = Field(description="the name of a [targets.NAME] table")
    func_name: str = Field(
        "{function}",
        description="the function's name: {function} in the export's YAML, {stem} and {key} of "
        "the object, {bucket}, {1}... for what the key's wildcards matched",
    )
    package: str = Field("default", description="the function's package; the same {...} are known")
    on_conflict: Literal["skip", "fail", "update", "rename"] = Field(
        "skip", description="what to do when the target holds the name already"
    )
    export_shape: Literal["require", "warn"] = Field(
        "require", description="must the archive look like a FunctionGraph export?"
    )
    channels: tuple[str, ...] = Field((), description="names of [channels.NAME] tables to tell")

    @field_validator("func_name", "package")
    @classmethod
    def _known_fields(cls, text: str, info: ValidationInfo) -> str:
        if "key" not in info.data:
            return text  # the key is wrong itself: nobody knows how many wildcards it has
        numbers = (str(number + 1) for number in range(wildcards(info.data["key"])))
        return rules.template(text, (*rules.TEMPLATE_FIELDS, *numbers))


class DatabaseSettings(Table):
    """Where the ledger is."""

    # Not shown by repr: a PostgreSQL address may hold a password.
    url: Annotated[str, AfterValidator(database_url)] = Field(
        "sqlite:///var/relay.db",
        repr=False,
        description="sqlite:///path (from the working directory; //// for an absolute one), or "
        "postgresql://user@host/db",
    )


class ApiSettings(Table):
    """Who may use the API and the pages."""

    tokens: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(rules.bearer_token)], ...],
        BeforeValidator(rules.without_empty),
    ] = Field((), description="bearer tokens; without any, answers on loopback only")
    links_last: Duration = Field(
        timedelta(days=7),
        ge=timedelta(0),
        le=timedelta(days=90),
        description="how long the link in a message tries its delivery again, once, without a "
        "login; 0: it leads to the page. Needs public_url and tokens",
    )


class ServerSettings(Table):
    """How the web process stands in the network."""

    proxies: int = Field(0, ge=0, le=16, description="reverse proxies in front that are trusted")
    worker: bool = Field(True, description="whether `relay serve` also delivers")


class HooksSettings(Table):
    """What hooks take."""

    max_body: Size = Field(2**20, ge=1, description="the largest notification that is read")


class DeliverySettings(Table):
    """How deliveries are tried."""

    attempts: int = Field(20, ge=1, le=1000, description="automatic tries before giving up")
    first_delay: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        le=timedelta(days=7),
        description="after the first failure; four times as long after each further one",
    )
    longest_delay: Duration = Field(
        timedelta(hours=3), gt=timedelta(0), le=timedelta(days=7), description="never longer"
    )
    lease: Duration = Field(
        timedelta(seconds=30),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="after so long without a sign of its worker a delivery is taken over",
    )
    stuck_after: Duration = Field(
        timedelta(minutes=15),
        ge=timedelta(seconds=1),
        description="after so long without a byte or an answer a delivery is given up as hanging",
    )
    workers: int = Field(4, ge=1, le=256, description="deliveries at once, in each process")

    @property
    def backoff(self) -> Backoff:
        return Backoff(self.attempts, self.first_delay, self.longest_delay)


class RetentionSettings(Table):
    """How long history is kept. The last deliveries of an object's newest version always are."""

    history: Duration = Field(
        timedelta(days=90), ge=timedelta(hours=1), description="for how long deliveries are kept"
    )
    deliveries: int = Field(
        200_000, ge=100, description="the most deliveries and messages kept; older ones go sooner"
    )
    bodies: Duration = Field(
        timedelta(days=30),
        ge=timedelta(hours=1),
        description="for how long notifications are kept byte for byte",
    )


class OutboundSettings(Table):
    """How targets and channels are reached."""

    allow_private: tuple[Network, ...] = Field(
        (), description="private networks that channels may post to, such as 10.0.0.0/8"
    )
    connect_timeout: Duration = Field(
        timedelta(seconds=10), gt=timedelta(0), description="for a connection to stand"
    )
    read_timeout: Duration = Field(
        timedelta(seconds=120), gt=timedelta(0), description="between two signs of the other side"
    )


class Settings(Table):
    """Everything that is configured. The tables of plug-ins are of the plug-ins' own types."""

    public_url: Annotated[
        Annotated[str, AfterValidator(rules.public_url)] | None,
        BeforeValidator(rules.nothing_if_empty),
    ] = Field(None, description="this relay's own address, for links in messages")
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    server: ServerSettings = ServerSettings()
    hooks: HooksSettings = HooksSettings()
    delivery: DeliverySettings = DeliverySettings()
    outbound: OutboundSettings = OutboundSettings()
    retention: RetentionSettings = RetentionSettings()
    sources: dict[str, SerializeAsAny[SourceSettings]] = Field(default_factory=dict)
    targets: dict[str, SerializeAsAny[TargetSettings]] = Field(default_factory=dict)
    channels: dict[str, SerializeAsAny[ChannelSettings]] = Field(default_factory=dict)
    routes: tuple[Route, ...] = Field((), description="first match wins")


OWN_TABLES = frozenset({Settings, Route, SourceSettings, TargetSettings, ChannelSettings})
"""Tables without a key of a plug-in: their error messages never quote a value."""


def settings_table() -> Iterator[tuple[str, str, str]]:
    """Every setting of ours for the documents: its path, its default as JSON, its sentence.

    Plug-ins describe their own keys; a setting without a default is required.
    """
    told = Settings.model_json_schema(mode="validation", schema_generator=SchemaInWords)
    tables = {name: Settings.model_fields[name].annotation for name in shape() if shape()[name]}
    named: dict[str, Any] = {
        "": Settings,
        **tables,
        "sources.NAME": SourceSettings,
        "targets.NAME": TargetSettings,
        "channels.NAME": ChannelSettings,
        "routes": Route,
    }
    for path, table in named.items():
        keys = told if table is Settings else told["$defs"][table.__name__]
        for key, one in keys["properties"].items():
            if "description" in one:
                default = json.dumps(one["default"]) if "default" in one else ""
                yield f"{path}.{key}".removeprefix("."), default, one["description"]


def shape() -> dict[str, tuple[str, ...]]:
    """Each top-level key with the keys of its table; none for plain values and for names."""
    keys: dict[str, tuple[str, ...]] = {}
    for name, field in Settings.model_fields.items():
        kind: Any = field.annotation
        own = isinstance(kind, type) and issubclass(kind, Table)
        keys[name] = tuple(kind.model_fields) if own else ()
    return keys
