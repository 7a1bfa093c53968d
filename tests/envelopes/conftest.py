"""What the tests of envelopes share: issuers of tokens, and a door with a ledger behind it."""

import shutil
import sys
from contextlib import closing
from pathlib import Path

import pytest

from handlers.s3 import Handler
from relay.store import Store

sys.path.insert(0, str(Path(__file__).parent))

from tokens import Door, Issuer, new_key


@pytest.fixture(scope="session")
def issuer_key():
    return new_key()


@pytest.fixture(scope="session")
def stranger_key():
    return new_key()


@pytest.fixture
def issuer(issuer_key):
    return Issuer(issuer_key)


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory):
    """A file of SQLite that was migrated: copied for each test, migrating takes longer."""
    path = tmp_path_factory.mktemp("ledger") / "relay.db"
    store = Store.open(f"sqlite:///{path}")
    store.migrate()
    store.close()
    return path


@pytest.fixture(scope="session")
def reader():
    """A handler of S3's records, made once: boto3 takes its time."""
    with closing(Handler("exports", Handler.Settings(kind="s3", region="us-east-1"))) as handler:
        yield handler


@pytest.fixture
def make_door(tmp_path, issuer, empty_ledger, reader):
    """make(**keys of the source) -> a Door whose envelopes fetch from the issuer, or by `fetch`."""
    shutil.copy(empty_ledger, tmp_path / "relay.db")
    store = Store.open(f"sqlite:///{tmp_path}/relay.db")

    def make(*, fetch=None, **keys):
        return Door(store, fetch or issuer.fetch, reader, **keys)

    yield make
    store.close()
