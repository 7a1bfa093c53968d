"""The named moments at which a child kills itself, and how each is found in the running code.

"mid-upload" is when the body's first part is out; "mid-message" and "mid-reconcile" are when the
request went out and its answer is not read yet: there the other side knows more than we do.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic.operations import Operations
from urllib3.connection import HTTPConnection

from relay.delivery import conflict
from relay.delivery.deliver import Deliverer
from relay.delivery.leases import Leases
from relay.delivery.worker import Worker
from relay.ledger import Ledger
from relay.ledger.database import Database
from relay.model import Kind
from relay.sources.s3.storage import S3Stream
from relay.targets.functiongraph.body import ImportBody
from relay.targets.functiongraph.target import Target
from tests.torture import disk

Passed = Callable[[], None]
POINTS: dict[str, Callable[[Passed], None]] = {}
_here = threading.local()


def arm(name: str, passed: Passed) -> None:
    POINTS[name](passed)


def point(name: str) -> Callable[[Callable[[Passed], None]], Callable[[Passed], None]]:
    def register(arming: Callable[[Passed], None]) -> Callable[[Passed], None]:
        POINTS[name] = arming
        return arming

    return register


@point("accept: before commit")
def _(passed: Passed) -> None:
    _marked(Ledger, "accept", "accept")
    _before_commit("accept", passed)


@point("accept: after commit")
def _(passed: Passed) -> None:
    _after(Ledger, "accept", lambda *_: passed())


@point("after claim")
def _(passed: Passed) -> None:
    _after(Ledger, "claim", lambda claim, *_: claim and _is_import(claim) and passed())


@point("mid-download")
def _(passed: Passed) -> None:
    _after(S3Stream, "read", lambda *_: passed())


@point("after validate")
def _(passed: Passed) -> None:
    _after(Deliverer, "_inspect", lambda *_: passed())


@point("before send")
def _(passed: Passed) -> None:
    _before(Target, "create", passed)


@point("mid-upload")
def _(passed: Passed) -> None:
    _around_body(lambda number: passed() if number > 1 else None, lambda: None)


@point("after last byte, before response")
def _(passed: Passed) -> None:
    _around_body(lambda _: None, passed)


@point("after response, before commit")
def _(passed: Passed) -> None:
    _after(Target, "create", lambda *_: passed())


@point("after commit, before message")
def _(passed: Passed) -> None:
    _after(Ledger, "finish", lambda _, __, claim, *___: _is_import(claim) and passed())


@point("mid-message")
def _(passed: Passed) -> None:
    _marked(Deliverer, "_post", "post")
    _before(HTTPConnection, "getresponse", lambda: passed() if _inside("post") else None)


@point("message: before commit")
def _(passed: Passed) -> None:
    _marked(Ledger, "finish", "finish", lambda _, claim, *__: claim.delivery.kind is Kind.MESSAGE)
    _before_commit("finish", passed)


@point("mid-reconcile")
def _(passed: Passed) -> None:
    _marked(conflict._Import, "_resolve_lost_response", "ask")
    _before(HTTPConnection, "getresponse", lambda: passed() if _inside("ask") else None)


@point("mid-migration")
def _(passed: Passed) -> None:
    for name in ("create_table", "create_index"):
        _after(Operations, name, lambda *_: passed())


@point("mid-commit")
def _(passed: Passed) -> None:
    """SQLite writes its journal, then the file, then makes the journal void: between two of these
    steps. Counted from the first notification or claim on."""
    disk.install()
    disk.watch(lambda _: passed() if getattr(disk, "counting", False) else None)
    _before(Ledger, "accept", lambda: setattr(disk, "counting", True))
    _after(Ledger, "claim", lambda claim, *_: claim and setattr(disk, "counting", True))


@point("during drain")
def _(passed: Passed) -> None:
    kept: list[Any] = []
    _before(Worker, "stop", lambda: kept.append(True))
    _before(Leases, "running", lambda: passed() if kept else None)


def _is_import(claim: Any) -> bool:
    return bool(claim.delivery.kind is Kind.IMPORT)


def _inside(name: str) -> bool:
    return name in getattr(_here, "names", ())


@contextmanager
def _in(name: str) -> Iterator[None]:
    _here.names = (*getattr(_here, "names", ()), name)
    try:
        yield
    finally:
        _here.names = _here.names[:-1]


def _before(owner: Any, name: str, act: Callable[[], object]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, act: Callable[..., object]) -> None:
    """`act` gets the result, then what was called with."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        act(result, *args)
        return result

    setattr(owner, name, wrapped)


def _marked(owner: Any, name: str, mark: str, when: Callable[..., bool] = lambda *_: True) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not when(*args):
            return original(*args, **kwargs)
        with _in(mark):
            return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _before_commit(mark: str, passed: Passed) -> None:
    """After all that the transaction writes, and before it is committed."""
    original = Database.together

    def together(self: Database, work: Any, *more: Any) -> Any:
        if not _inside(mark):
            return original(self, work, *more)

        def then_die(connection: Any) -> Any:
            result = work(connection)
            passed()
            return result

        return original(self, then_die, *more)

    Database.together = together  # type: ignore[method-assign]


def _around_body(part: Callable[[int], object], end: Callable[[], object]) -> None:
    original = ImportBody.__iter__

    def pieces(self: ImportBody) -> Iterator[bytes]:
        for number, piece in enumerate(original(self)):
            part(number)
            yield piece
        end()

    ImportBody.__iter__ = pieces  # type: ignore[method-assign]
