"""Settings, their defaults, and the errors for wrong values."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from relay.config.backoff import Backoff
from relay.config.load import (
    ChannelSettings,
    Route,
    Settings,
    SourceSettings,
    Table,
    TargetSettings,
    secrets,
)

from .conftest import ConfigErrorsOf, Loader

DEFAULTS = {
    "public_url": None,
    "database.url": "sqlite:///var/relay.db",
    "api.tokens": (),
    "api.links_last": timedelta(days=7),
    "server.proxies": 0,
    "server.worker": True,
    "hooks.max_body": 2**20,
    "delivery.attempts": 20,
    "delivery.give_up_after": timedelta(days=2),
    "delivery.gone_after": timedelta(minutes=2),
    "delivery.first_delay": timedelta(seconds=10),
    "delivery.longest_delay": timedelta(hours=3),
    "delivery.lease": timedelta(seconds=30),
    "delivery.stuck_after": timedelta(minutes=15),
    "delivery.workers": 4,
    "outbound.allow_private": (),
    "outbound.connect_timeout": timedelta(seconds=10),
    "outbound.read_timeout": timedelta(seconds=120),
    "retention.history": timedelta(days=90),
    "retention.deliveries": 200_000,
    "retention.bodies": timedelta(days=30),
    "sources": {},
    "targets": {},
    "channels": {},
    "routes": (),
}
PLUMBING = """
[sources.exports]
kind = "bucket"
[targets.prod]
kind = "cloud"
region = "cn-north-4"
[channels.ops]
kind = "chat"
url = "https://chat.example.com/hook"
"""
ROUTE = PLUMBING + '[[routes]]\nsource = "exports"\ntarget = "prod"\n'


def _flat(table: Table, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, Table):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def test_these_are_all_settings_and_their_defaults() -> None:
    assert _flat(Settings()) == DEFAULTS


OWN_TABLES = [
    field.annotation
    for field in Settings.model_fields.values()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Table)
]


@pytest.mark.parametrize(
    "table", [SourceSettings, TargetSettings, ChannelSettings, Route, *OWN_TABLES]
)
def test_every_key_says_in_a_sentence_what_it_is(table: type[Table]) -> None:
    assert [name for name, field in table.model_fields.items() if not field.description] == []


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().delivery.attempts = 1  # type: ignore[misc]


def test_the_backoff_is_as_configured(loaded: Loader) -> None:
    text = '[delivery]\nattempts = 3\nfirst_delay = "1s"\nlongest_delay = "1m"\n'
    expected = Backoff(3, timedelta(seconds=1), timedelta(minutes=1))
    assert loaded(text).delivery.backoff == expected


def test_plug_ins_get_their_own_typed_tables(loaded: Loader) -> None:
    settings = loaded(PLUMBING)
    assert type(settings.sources["exports"]).__name__ == "Bucket"
    assert type(settings.targets["prod"]).__name__ == "Cloud"
    assert type(settings.channels["ops"]).__name__ == "Chat"


def test_empty_tokens_are_no_tokens(loaded: Loader) -> None:
    settings = loaded(
        PLUMBING + '[api]\ntokens = ["", "${NONE:-}"]\n', RELAY_SOURCES__EXPORTS__TOKEN=""
    )
    assert settings.api.tokens == ()
    assert settings.sources["exports"].token is None


def test_networks_are_networks(loaded: Loader) -> None:
    settings = loaded('[outbound]\nallow_private = ["10.0.0.0/8", "fd00::/8"]\n')
    assert settings.outbound.allow_private == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_every_secret_is_known_to_the_logs(loaded: Loader) -> None:
    settings = loaded(
        PLUMBING + 'secrets = ["whsec_1", "whsec_2"]\n[api]\ntokens = ["api-token"]\n',
        RELAY_DATABASE__URL="postgresql://relay:p%40ss@db/relay",
        RELAY_TARGETS__PROD__SECRET_KEY="sk",
    )
    assert set(secrets(settings)) == {
        "api-token",
        "https://chat.example.com/hook",
        "whsec_1",
        "whsec_2",
        "sk",
        "p%40ss",
        "p@ss",
    }
    assert "p%40ss" not in repr(settings)


def test_a_foreign_plug_in_may_be_given_as_a_dotted_path(wrong: ConfigErrorsOf) -> None:
    errors = wrong('[sources.x]\nkind = "nosuch"\n')
    assert errors == {"sources.x.kind": "no plug-in has this name. Known: bucket."}


def test_all_errors_are_reported_at_once(wrong: ConfigErrorsOf) -> None:
    errors = wrong(
        """
        nonsense = 1
        [sources.exports]
        kind = "bucket"
        regoin = "x"
        [sources.other]
        [targets.prod]
        kind = "cloud"
        [channels.ops]
        kind = "chat"
        language = "fr"
        on = ["succeeded", "faild"]
        [delivery]
        attempts = 0
        [[routes]]
        source = "export"
        target = "prod"
        key = "[abc"
        channels = ["opps"]
        """,
        RELAY_API__TOKNS="x",
    )
    assert set(errors) == {
        "nonsense",
        "sources.exports.regoin",
        "sources.other.kind",
        "targets.prod.region",
        "channels.ops.url",
        "channels.ops.language",
        "channels.ops.on[1]",
        "delivery.attempts",
        "routes[0].source",
        "routes[0].key",
        "routes[0].channels",
        "RELAY_API__TOKNS",
    }


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("publik_url = ''", "publik_url", "Did you mean `public_url`?"),
        ("[databse]\nurl = ''", "databse", "Did you mean `database`?"),
        ("database = 3", "database", "should be a table"),
        ("sources = 3", "sources", "should hold tables: [sources.NAME]"),
        ("[sources]\nx = 3", "sources.x", "should be a table. Write [sources.x]"),
        ("[sources.'a b']\nkind = 'bucket'", "sources", "'a b' should be letters, digits, _ and -"),
        ("[sources.x]\nkind = 3", "sources.x.kind", "is required, as text"),
        ("[targets.x]\nkind = 'cloud'", "targets.x.region", "is required. Such as cn-north-4."),
        ("[server]\nproxies = 17", "server.proxies", "less than or equal to 16"),
        ("[server]\nworker = 'maybe'", "server.worker", "should be true or false"),
        ("[hooks]\nmax_body = '1 gallon'", "hooks.max_body", 'such as "300MiB"'),
        ("[delivery]\nlease = 30", "delivery.lease", 'such as "500ms", "10s"'),
        ("[api]\ntokens = 'x'", "api.tokens", "should be a list"),
        ("[api]\ntokens = ['a b']", "api.tokens[0]", "printable ASCII without spaces"),
        ("[database]\nurl = 'mysql://x'", "database.url", "sqlite:/// or postgresql://"),
        ("public_url = 'relay.example.com'", "public_url", "such as https://relay.example.com"),
        ("public_url = 'https://u:p@x'", "public_url", "no user, password"),
        ("public_url = 'https://x:99999'", "public_url", "such as https://relay.example.com"),
        ("[outbound]\nallow_private = ['10.0.0.1/8']", "outbound.allow_private[0]", "10.0.0.0/8"),
        ("routes = 3", "routes", "should be a list of tables: [[routes]]"),
        (
            "[[routes]]\nsource = 'x'\ntarget = 'y'",
            "routes[0].source",
            "no [sources.NAME] table yet",
        ),
    ],
)
def test_a_wrong_value_says_where_it_is_and_what_would_be_right(
    wrong: ConfigErrorsOf, text: str, path: str, words: str
) -> None:
    assert words in wrong(text)[path]


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        ("key = ''", "routes[0].key", 'is empty; "*" matches everything'),
        ("key = 'a[b'", "routes[0].key", "has a [ that no ] closes"),
        ("func_name = '{functoin}'", "routes[0].func_name", "known are {function}, {stem}, {key},"),
        ("func_name = '{2}'", "routes[0].func_name", "has an unknown {...}"),
        ("package = 'a}'", "routes[0].package", "has a { or } without its counterpart"),
        ("package = ''", "routes[0].package", "is empty"),
        ("name = 'a#1'", "routes[0].name", "should be letters, digits, _ and - only"),
        ("on_conflict = 'no'", "routes[0].on_conflict", "'skip', 'fail', 'update' or 'rename'"),
        ("channels = ['opps']", "routes[0].channels", "Did you mean `ops`?"),
        ("chanels = ['ops']", "routes[0].chanels", "Did you mean `channels`?"),
    ],
)
def test_a_wrong_route_says_what_would_be_right(
    wrong: ConfigErrorsOf, line: str, path: str, words: str
) -> None:
    assert words in wrong(f"{ROUTE}{line}\n")[path]


def test_as_many_wildcards_as_the_key_has_can_be_named(loaded: Loader) -> None:
    line = 'key = "*/*-v?.zip"\nfunc_name = "{1}_{2}_{3}"\n'
    assert loaded(ROUTE + line).routes[0].func_name == "{1}_{2}_{3}"


def test_an_invalid_key_is_the_only_error_of_a_route(wrong: ConfigErrorsOf) -> None:
    assert set(wrong(f"{ROUTE}key = 'a[b'\nfunc_name = '{{1}}'\n")) == {"routes[0].key"}


def test_two_routes_cannot_have_the_same_name(wrong: ConfigErrorsOf) -> None:
    route = '[[routes]]\nname = "a"\nsource = "exports"\ntarget = "prod"\n'
    errors = wrong(PLUMBING + route + route)
    assert errors == {"routes[1].name": "another route has this name already. "}


def test_a_route_may_refer_to_an_invalid_source(wrong: ConfigErrorsOf) -> None:
    text = ROUTE.replace('kind = "bucket"', 'kind = "bucket"\nbuckets = 3')
    assert set(wrong(text)) == {"sources.exports.buckets"}
