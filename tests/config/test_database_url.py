"""Valid database URLs; errors about wrong URLs quote no part of them."""

from __future__ import annotations

import pytest

from relay.config.load import secrets
from relay.ledger import Ledger

from .conftest import ConfigErrorsOf, Loader

POSTGRESQL = [
    "postgresql://",
    "postgresql:///relay",
    "postgres://relay@db/relay",
    "postgresql+psycopg://relay@db/relay",
    "postgresql:///relay?host=/run/postgresql",
    "postgresql://relay:p%40ss@db:5432/relay?sslmode=require",
    "postgresql://relay:p[x@db/relay",
    "postgresql://relay:p℀x@db/relay",
    "postgresql://relay:a/b:c#d,e@db/relay",
    "postgresql://relay@tenant@db/relay",
    "postgresql://relay,5:5@db/relay",
    "postgresql://db/of@team",
    "postgresql://relay@[::1]:5432/relay",
    "postgresql://one,two/relay",
    "postgresql:///relay?host=one,two&port=5432,5433",
    "postgresql:///relay?host=one:5432&host=two:5433",
    "postgresql:///relay?user=me@tenant",
]


@pytest.mark.parametrize(
    "url", ["sqlite:///var/relay.db", "sqlite:////srv/relay.db", "sqlite:////srv/50%/中 文#.db"]
)
def test_a_file_is_taken_as_it_stands(loaded: Loader, url: str) -> None:
    assert loaded(RELAY_DATABASE__URL=url).database.url == url


@pytest.mark.parametrize("url", POSTGRESQL)
def test_postgresql_is_taken_as_it_stands_and_the_ledger_takes_it_too(
    loaded: Loader, url: str
) -> None:
    taken = loaded(RELAY_DATABASE__URL=url).database.url
    assert taken == url
    Ledger.open(taken).close()


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("postgresql://u:p@a:1,b:2/db", "postgresql://u:p@/db?host=a,b&port=1,2"),
        ("postgresql://a:1,b", "postgresql:///?host=a,b&port=1,"),
        ("postgresql://[::1]:1,b:2/db?x=y", "postgresql:///db?x=y&host=::1,b&port=1,2"),
    ],
)
def test_several_hosts_with_ports_are_written_as_sqlalchemy_reads_them(
    loaded: Loader, url: str, taken: str
) -> None:
    assert loaded(RELAY_DATABASE__URL=url).database.url == taken
    Ledger.open(taken).close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:s3cret@db/x", "should start with sqlite:/// or postgresql://"),
        ("sqlite:s3cret.db", "should start with sqlite:/// or postgresql://"),
        ("postgresql:/s3cret", "should start with sqlite:/// or postgresql://"),
        ("postgresql+psycopg2://u:s3cret@db/x", "names a driver that Relay does not use"),
        ("sqlite+pysqlite:///s3cret.db", "names a driver that Relay does not use"),
        ("sqlite://s3cret/relay.db", "should name a file and nothing else: sqlite:///var/relay.db"),
        ("sqlite://", "should name a file"),
        ("sqlite:///", "should name a file"),
        ("sqlite:///:memory:", "should name a file"),
        ("sqlite:///s3cret?mode=ro", "should name a file"),
        ("postgresql://u:s3cret@db:port/x", "has a port that is not a number from 1 to 65535"),
        ("postgresql://u:s3cret@db:99999999/x", "has a port that is not a number"),
        ("postgresql://u:s3cret@db:1,db:port/x", "has a port that is not a number"),
        ("postgresql:///x?host=s3cret:99999", "has a port that is not a number"),
        ("postgresql:///x?host=s3cret&port=y", "has hosts and ports that do not go together"),
        ("postgresql:///x?host=a&host=b&port=1", "postgresql://user@host1:5432,host2:5432/db"),
        ("postgresql://u:p@s3cret@127.0.0.1:1/db", "in a password write @ as %40"),
        ("postgresql://u:p@s3:cret@db/x", "in a password write @ as %40"),
        ("postgresql://u:p@s3cret/s3cret@db/x", "in a password write @ as %40"),
        ("postgresql://u:p@s3cret?s3cret@db/x", "in a password write @ as %40"),
        ("postgresql://u:p@s3,cret:1@db/x", "in a password write @ as %40"),
    ],
)
def test_a_url_that_cannot_be_opened_is_rejected_with_the_reason(
    wrong: ConfigErrorsOf, url: str, words: str
) -> None:
    error = wrong(RELAY_DATABASE__URL=url)["database.url"]
    assert words in error
    assert "s3" not in error


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("postgresql://u:p[x@db/relay", {"p[x"}),
        ("postgresql://u:p℀x@db/relay", {"p℀x"}),
        ("postgresql://u:a/b%40@db/relay", {"a/b%40", "a/b@"}),
        ("postgresql://u@db/relay?password=hunter2&sslpassword=s3", {"hunter2", "s3"}),
        ("postgresql://u@db/relay", set()),
        ("sqlite:///var/a:b@c.db", set()),
    ],
)
def test_the_logs_know_the_whole_password(loaded: Loader, url: str, known: set[str]) -> None:
    assert set(secrets(loaded(RELAY_DATABASE__URL=url))) == known
