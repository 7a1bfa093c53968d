"""The named points at which a child kills itself, and how each is found in the running code.

"mid-upload" is after the first part of the body is sent. "mid-message", "mid-reconcile" and
"mid-question" are after the request is sent and before the response is read: the other side knows
more than Relay.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic.operations import Operations
from urllib3.connection import HTTPConnection

from relay.delivery import import_archive
from relay.delivery.changes import RecordedChanges
from relay.delivery.deliver import Deliverer
from relay.delivery.leases import Leases
from relay.delivery.resolution import Resolver
from relay.delivery.worker import Worker
from relay.ledger.database import Database
from relay.ledger.intake import NotificationIntake
from relay.ledger.intents import Intents
from relay.ledger.outcomes import Outcomes
from relay.ledger.queue import DeliveryQueue
from relay.model import Kind
from relay.sources.s3.storage import S3Stream
from relay.targets.changes import Change
from relay.targets.functiongraph.body import Base64Body
from relay.targets.functiongraph.target import Target
from tests.torture import disk

Passed = Callable[[], None]
POINTS: dict[str, Callable[[Passed], None]] = {}
SWEPT: list[str] = []
"""The points of K1. The others need a delivery that was killed before, or an update."""
_active = threading.local()


def arm(name: str, passed: Passed) -> None:
    """Call `passed` whenever the running code passes the point."""
    POINTS[name](passed)


def point(
    name: str, *, swept: bool = True
) -> Callable[[Callable[[Passed], None]], Callable[[Passed], None]]:
    """Register the function that arms the named point. `swept`: K1 tests it."""

    def register(arm_point: Callable[[Passed], None]) -> Callable[[Passed], None]:
        POINTS[name] = arm_point
        if swept:
            SWEPT.append(name)
        return arm_point

    return register


@point("accept: before commit")
def _(passed: Passed) -> None:
    _mark(NotificationIntake, "accept", "accept")
    _before_commit("accept", passed)


@point("accept: after commit")
def _(passed: Passed) -> None:
    _after(NotificationIntake, "accept", lambda *_: passed())


@point("after claim")
def _(passed: Passed) -> None:
    _after(DeliveryQueue, "claim", lambda claim, *_: claim and _is_import(claim) and passed())


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
    original = Base64Body.__iter__

    def parts(self: Base64Body) -> Iterator[bytes]:
        for number, content in enumerate(original(self)):
            if number > 1:
                passed()
            yield content

    Base64Body.__iter__ = parts  # type: ignore[method-assign]


@point("before intent", swept=False)
def _(passed: Passed) -> None:
    _before(RecordedChanges, "release", passed)


@point("before intent, then no renewals", swept=False)
def _(passed: Passed) -> None:
    """From the point on, the heartbeat hangs: the worker does not notice that it lost its lease."""
    reached = threading.Event()
    _before(RecordedChanges, "release", lambda: (reached.set(), passed()))
    _before(Leases, "renew", lambda: reached.is_set() and threading.Event().wait())


@point("after intent, before last bytes", swept=False)
def _(passed: Passed) -> None:
    _after(Intents, "record", lambda *_: passed())


@point("after last byte, before response")
def _(passed: Passed) -> None:
    original = Change.__iter__

    def parts(self: Change) -> Iterator[bytes]:
        yield from original(self)
        passed()

    Change.__iter__ = parts  # type: ignore[method-assign]


@point("after response, before commit")
def _(passed: Passed) -> None:
    for name in ("create", "replace"):
        _after(Target, name, lambda *_: passed())


@point("after commit, before message")
def _(passed: Passed) -> None:
    _after(Outcomes, "finish", lambda _, __, claim, *___: _is_import(claim) and passed())


@point("mid-message")
def _(passed: Passed) -> None:
    _mark(Deliverer, "_post", "post")
    _before(HTTPConnection, "getresponse", lambda: passed() if _is_inside("post") else None)


@point("message: before commit")
def _(passed: Passed) -> None:
    _mark(Outcomes, "finish", "finish", lambda _, claim, *__: claim.delivery.kind is Kind.MESSAGE)
    _before_commit("finish", passed)


@point("mid-reconcile")
def _(passed: Passed) -> None:
    _mark(import_archive._Import, "_resolve_lost_response", "ask")
    _before(HTTPConnection, "getresponse", lambda: passed() if _is_inside("ask") else None)


@point("mid-question", swept=False)
def _(passed: Passed) -> None:
    _mark(Resolver, "resolve", "question")
    _before(HTTPConnection, "getresponse", lambda: passed() if _is_inside("question") else None)


@point("mid-migration")
def _(passed: Passed) -> None:
    for name in ("create_table", "create_index"):
        _after(Operations, name, lambda *_: passed())


@point("mid-commit")
def _(passed: Passed) -> None:
    """Pass between any two steps in which SQLite writes the journal and the file.

    Steps count from the first notification or claim on.
    """
    disk.install()
    disk.watch(lambda _: passed() if getattr(disk, "counting", False) else None)
    _before(NotificationIntake, "accept", lambda: setattr(disk, "counting", True))
    _after(DeliveryQueue, "claim", lambda claim, *_: claim and setattr(disk, "counting", True))


@point("during drain")
def _(passed: Passed) -> None:
    stopping: list[Any] = []
    _before(Worker, "stop", lambda: stopping.append(True))
    _before(Leases, "running", lambda: passed() if stopping else None)


def _is_import(claim: Any) -> bool:
    return bool(claim.delivery.kind is Kind.IMPORT)


def _is_inside(mark: str) -> bool:
    return mark in getattr(_active, "marks", ())


@contextmanager
def _inside(mark: str) -> Iterator[None]:
    _active.marks = (*getattr(_active, "marks", ()), mark)
    try:
        yield
    finally:
        _active.marks = _active.marks[:-1]


def _before(owner: Any, name: str, act: Callable[[], object]) -> None:
    """Call `act` before each call of the function."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _after(owner: Any, name: str, act: Callable[..., object]) -> None:
    """Call `act` after each call of the function, with the result and the arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        act(result, *args)
        return result

    setattr(owner, name, wrapped)


def _mark(owner: Any, name: str, mark: str, when: Callable[..., bool] = lambda *_: True) -> None:
    """Set the mark of this thread during each call of the function."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not when(*args):
            return original(*args, **kwargs)
        with _inside(mark):
            return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def _before_commit(mark: str, passed: Passed) -> None:
    """Pass after all writes of a marked transaction, and before the commit."""
    original = Database.write_grouped

    def write_grouped(self: Database, work: Any, *more: Any) -> Any:
        if not _is_inside(mark):
            return original(self, work, *more)

        def then_die(connection: Any) -> Any:
            result = work(connection)
            passed()
            return result

        return original(self, then_die, *more)

    Database.write_grouped = write_grouped  # type: ignore[method-assign]
