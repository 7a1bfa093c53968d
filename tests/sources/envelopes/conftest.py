"""Fixtures of the envelope tests: issuers of tokens, and a hook with a real ledger."""

import sys
from contextlib import closing
from pathlib import Path

import pytest

from relay.handlers.s3 import Handler
from relay.ledger import Ledger
from tests.ledgers import new_ledger

sys.path.insert(0, str(Path(__file__).parent))

from tokens import Hook, Issuer, new_key


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
def reader():
    """A handler of S3 records, created once because boto3 is slow to start."""
    with closing(Handler("exports", Handler.Settings(kind="s3", region="us-east-1"))) as handler:
        yield handler


@pytest.fixture
def make_hook(tmp_path, issuer, reader):
    """make(**keys of the source) -> a Door whose envelopes fetch from the issuer, or by `fetch`."""
    ledger = Ledger.open(new_ledger(tmp_path / "relay.db"))

    def make(*, fetch=None, **keys):
        return Hook(ledger, fetch or issuer.fetch, reader, **keys)

    yield make
    ledger.close()
