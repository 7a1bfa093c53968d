"""The tables of relay.toml with their keys, types and defaults."""

from __future__ import annotations

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
from relay.config.units import Duration, Rate, Size

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
    """The keys of every source; the `Settings` of a handler add more."""

    kind: str = Field(description="the handler: s3, local, ..., or package.module:Class")
    buckets: tuple[str, ...] = Field(
        (), description="the buckets whose events are accepted; empty: all"
    )


class TargetSettings(Table):
    """The keys of every target; the `Settings` of a target add more."""

    kind: str = Field(description="the target: functiongraph, or package.module:Class")
    concurrency: int = Field(1, ge=1, description="concurrent imports, over all workers")


class ChannelSettings(Table):
    """The keys of every channel; the `Settings` of a channel add more."""

    kind: str = Field(description="the channel: slack, webhook, ..., or package.module:Class")
    language: Literal["en", "zh"] = Field("en", description="the language of messages")
    on: tuple[Result, ...] = Field(
        ("succeeded", "failed", "skipped"),
        description="the results that are posted; with failed also that a target is down; "
        "a recovery follows the failure",
    )
    rate: Rate | None = Field(
        None,
        description='messages per period, such as "20/1m"; default: the service\'s limit',
    )
    burst: int = Field(
        10,
        ge=0,
        le=1000,
        description="when more messages than this are due within a minute, they are combined in a "
        "digest; 0: never",
    )
    quiet_hours: QuietHours = Field(
        None, description='hours in which only `urgent` results are posted, such as "22:00-07:00"'
    )
    timezone: TimeZone = Field(
        "UTC", description="the time zone of quiet_hours, such as Asia/Shanghai"
    )
    urgent: tuple[Result, ...] = Field(
        ("failed",), description="the results that are posted in quiet_hours too"
    )
    words: WordsSettings = Field(
        WordsSettings(),
        description="Jinja templates that replace texts of the card, see deploy/README.md",
    )


class Route(Table):
    """A rule: matching events of a source go to a target; channels are notified."""

    name: Annotated[str, AfterValidator(rules.name)] | None = Field(
        None, description="the name of the route; without it, source and number"
    )
    source: str = Field(description="the name of a [sources.NAME] table")
    bucket: Glob = Field("*", description="glob for the bucket")
    key: Glob = Field("*.zip", description="glob for the key; * also matches /")
    target: str = Field(description="the name of a [targets.NAME] table")
    func_name: str = Field(
        "{function}",
        description="the function's name; {function} is the name in the export's YAML, {stem} and "
        "{key} are of the object, {bucket}, {1}... match the wildcards of key",
    )
    package: str = Field("default", description="the function's package; the same fields")
    on_conflict: Literal["skip", "fail", "update", "rename"] = Field(
        "skip", description="what to do when the function exists"
    )
    replace_environment: bool = Field(
        False,
        description="update: an export without variables empties the function's environment",
    )
    export_shape: Literal["require", "warn"] = Field(
        "require", description="must the archive look like a FunctionGraph export?"
    )
    channels: tuple[str, ...] = Field((), description="names of [channels.NAME] tables to notify")

    @field_validator("func_name", "package")
    @classmethod
    def _known_fields(cls, text: str, info: ValidationInfo) -> str:
        if "key" not in info.data:
            return text  # the key is invalid: the number of wildcards is unknown
        numbers = (str(number + 1) for number in range(wildcards(info.data["key"])))
        return rules.template(text, (*rules.TEMPLATE_FIELDS, *numbers))


class DatabaseSettings(Table):
    """The database."""

    # Not in repr: a PostgreSQL URL may hold a password.
    url: Annotated[str, AfterValidator(database_url)] = Field(
        "sqlite:///var/relay.db",
        repr=False,
        description="sqlite:///path (from the working directory; //// for an absolute one), or "
        "postgresql://user@host/db",
    )


class ApiSettings(Table):
    """Access to the API and the pages."""

    tokens: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(rules.bearer_token)], ...],
        BeforeValidator(rules.without_empty),
    ] = Field((), description="bearer tokens; without any, only loopback is answered")
    links_last: Duration = Field(
        timedelta(days=7),
        ge=timedelta(0),
        le=timedelta(days=90),
        description="how long the link in a message can retrigger the delivery, once, without a "
        "login; 0: the link opens the page. Needs public_url and tokens",
    )


class ServerSettings(Table):
    """The web process."""

    proxies: int = Field(
        0, ge=0, le=16, description="the number of trusted reverse proxies in front"
    )
    worker: bool = Field(True, description="whether `relay serve` also delivers")


class HooksSettings(Table):
    """Limits of the hooks."""

    max_body: Size = Field(2**20, ge=1, description="the largest notification that is accepted")


class DeliverySettings(Table):
    """Attempts, delays and leases of deliveries."""

    attempts: int = Field(
        20, ge=1, le=1000, description="failures that nothing asked to wait for, before giving up"
    )
    give_up_after: Duration = Field(
        timedelta(days=2),
        gt=timedelta(0),
        le=timedelta(days=365),
        description="how long a delivery is tried in all; not counting pauses, nor time in which "
        "the source, target or channel is not configured",
    )
    first_delay: Duration = Field(
        timedelta(seconds=10),
        gt=timedelta(0),
        le=timedelta(days=7),
        description="the delay after the first failure; it grows fourfold with each failure",
    )
    longest_delay: Duration = Field(
        timedelta(hours=3), gt=timedelta(0), le=timedelta(days=7), description="the longest delay"
    )
    gone_after: Duration = Field(
        timedelta(minutes=2),
        ge=timedelta(0),
        le=timedelta(days=7),
        description="how long a missing object is looked for before the delivery ends as gone",
    )
    lease: Duration = Field(
        timedelta(seconds=30),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="without a heartbeat for this long, another worker takes the delivery over",
    )
    stuck_after: Duration = Field(
        timedelta(minutes=15),
        ge=timedelta(seconds=1),
        description="without progress for this long, an attempt is abandoned as hung",
    )
    workers: int = Field(4, ge=1, le=256, description="concurrent deliveries in each process")

    @property
    def backoff(self) -> Backoff:
        return Backoff(self.attempts, self.first_delay, self.longest_delay, self.give_up_after)


class RetentionSettings(Table):
    """How long history is kept. The latest deliveries of each object are always kept."""

    history: Duration = Field(
        timedelta(days=90), ge=timedelta(hours=1), description="how long deliveries are kept"
    )
    deliveries: int = Field(
        200_000,
        ge=100,
        description="the most deliveries and messages kept; beyond it, the oldest are removed",
    )
    bodies: Duration = Field(
        timedelta(days=30),
        ge=timedelta(hours=1),
        description="how long the bodies of notifications are kept",
    )


class OutboundSettings(Table):
    """Connections to targets and channels."""

    allow_private: tuple[Network, ...] = Field(
        (), description="private networks that channels may reach, such as 10.0.0.0/8"
    )
    connect_timeout: Duration = Field(
        timedelta(seconds=10), gt=timedelta(0), description="the time-out for connecting"
    )
    read_timeout: Duration = Field(
        timedelta(seconds=120),
        gt=timedelta(0),
        description="the time-out between two received bytes",
    )


class Settings(Table):
    """The whole configuration. Tables of plug-ins have the types of the plug-ins."""

    public_url: Annotated[
        Annotated[str, AfterValidator(rules.public_url)] | None,
        BeforeValidator(rules.nothing_if_empty),
    ] = Field(None, description="the address of this Relay, for links in messages")
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
"""Tables without keys of plug-ins: their errors never quote a value."""


def shape() -> dict[str, tuple[str, ...]]:
    """Return each top-level key with the keys of that table; none for plain values and groups."""
    keys: dict[str, tuple[str, ...]] = {}
    for name, field in Settings.model_fields.items():
        kind: Any = field.annotation
        own = isinstance(kind, type) and issubclass(kind, Table)
        keys[name] = tuple(kind.model_fields) if own else ()
    return keys
