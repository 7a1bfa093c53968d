"""TargetSuite: the promises of every target, kept against a real server that can go wrong.

A target's test class inherits it and brings four fixtures and what its server can be told to do:

    class TestShelf(TargetSuite):
        @pytest.fixture
        def place(self): ...            # a Place
        @pytest.fixture
        def target(self, place): ...    # configured rightly
        @pytest.fixture
        def stranger(self, place): ...  # the same with wrong credentials
        @pytest.fixture
        def nowhere(self): ...          # the same with an address where nobody answers
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Protocol

import pytest

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import inspect
from relay.errors import (
    NameTaken,
    OutcomeUnknown,
    PermanentFailure,
    RelayError,
    TemporaryFailure,
    Throttled,
)
from relay.model import ObjectInfo
from relay.targets.contract import FunctionName, Target
from relay.testing.sandbox.exports import make_export


class Place(Protocol):
    """The server behind the target, as far as the suite has to command it."""

    def lose_answer(self) -> None:
        """The next import has its effect, and its answer is lost."""

    def cut(self) -> None:
        """The next import is cut off while its body is on the way."""

    def ask_to_wait(self, seconds: int) -> None:
        """The next import is answered with the wish that everybody waits so long."""

    def effects(self) -> int:
        """How many imports made a function so far."""


class Bytes:
    """Bytes as an ObjectStream."""

    def __init__(self, content: bytes, size: int) -> None:
        self.info = ObjectInfo(size)
        self._file = io.BytesIO(content)

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def archive_of(content: bytes, looked_at: bytes | None = None) -> CheckedArchive:
    """The archive of these bytes; `looked_at`: what they were when it was inspected."""
    seen = content if looked_at is None else looked_at
    report = inspect(len(seen), lambda start, end: seen[start:end])
    return CheckedArchive(
        "export.zip",
        len(content),
        report,
        lambda start, end: Bytes(content[start:end], len(content)),
    )


def export(word: str = "hello", function: str = "hello", size: int | None = None) -> CheckedArchive:
    """A genuine export whose code says `word`, padded to about `size` bytes."""
    code = {"index.py": f"def handler(event, context):\n    return {word!r}\n".encode()}
    return archive_of(make_export(function, code=code, code_size=size))


def ignore(_: int) -> None:
    """A progress that nobody watches."""


class TargetSuite:
    """What every target promises."""

    order = FunctionName("hello", "default")

    def test_nothing_is_held_before_it_was_created(self, target: Target) -> None:
        assert target.held(self.order) is None

    def test_what_was_created_is_held(self, target: Target) -> None:
        archive = export()
        landed = target.create(self.order, archive, ignore)
        held = target.held(self.order)
        assert held is not None
        assert (held.func_name, held.package) == (self.order.func_name, self.order.package)
        assert held.digest == archive.code_digest()
        assert (landed.func_name, landed.package) == (held.func_name, held.package)
        assert held.urn.startswith(landed.urn)

    def test_a_taken_name_is_said_and_what_is_held_stays(
        self, target: Target, place: Place
    ) -> None:
        target.create(self.order, export("first"), ignore)
        before = target.held(self.order)
        with pytest.raises(NameTaken):
            target.create(self.order, export("second"), ignore)
        assert target.held(self.order) == before
        assert place.effects() == 1

    def test_replacing_brings_the_new_code_and_may_be_repeated(self, target: Target) -> None:
        target.create(self.order, export("first"), ignore)
        newer = export("second")
        for _ in range(2):
            held = target.held(self.order)
            assert held is not None
            target.replace(held, newer, ignore)
        after = target.held(self.order)
        assert after is not None
        assert after.digest == newer.code_digest()

    def test_a_lost_answer_is_ambiguous_and_asking_tells(
        self, target: Target, place: Place
    ) -> None:
        archive = export()
        place.lose_answer()
        with pytest.raises(OutcomeUnknown):
            target.create(self.order, archive, ignore)
        held = target.held(self.order)
        assert held is not None
        assert held.digest == archive.code_digest()

    def test_what_was_cut_on_the_way_did_not_happen_and_may_be_tried_again(
        self, target: Target, place: Place
    ) -> None:
        archive = export(size=8_000_000)
        place.cut()
        with pytest.raises(TemporaryFailure) as cut:
            target.create(self.order, archive, ignore)
        assert not isinstance(cut.value, OutcomeUnknown)
        assert target.held(self.order) is None
        target.create(self.order, archive, ignore)
        assert place.effects() == 1

    def test_a_wish_to_wait_is_for_everybody_and_how_long(
        self, target: Target, place: Place
    ) -> None:
        place.ask_to_wait(7)
        with pytest.raises(Throttled) as busy:
            target.create(self.order, export(), ignore)
        assert busy.value.retry_after == timedelta(seconds=7)
        assert place.effects() == 0

    def test_wrong_credentials_are_permanent_and_say_what_to_do(
        self, stranger: Target, place: Place
    ) -> None:
        with pytest.raises(PermanentFailure) as refused:
            stranger.create(self.order, export(), ignore)
        assert refused.value.hint.en
        assert refused.value.hint.zh
        assert place.effects() == 0

    def test_no_error_shows_a_secret(self, stranger: Target) -> None:
        with pytest.raises(RelayError) as refused:
            stranger.create(self.order, export(), ignore)
        error = refused.value
        shown = f"{error} {error.problem} {error.answer} {error.__cause__!r}"
        for secret in _secrets(stranger.settings):
            assert secret not in shown

    def test_a_place_that_cannot_be_reached_is_temporary(self, nowhere: Target) -> None:
        with pytest.raises(TemporaryFailure) as failed:
            nowhere.create(self.order, export(), ignore)
        assert not isinstance(failed.value, OutcomeUnknown)

    def test_a_damaged_archive_is_never_imported(self, target: Target, place: Place) -> None:
        whole = make_export("hello", code_size=1_000_000)
        damaged = bytearray(whole)
        damaged[len(damaged) // 2] ^= 1
        with pytest.raises(PermanentFailure):
            target.create(self.order, archive_of(bytes(damaged), whole), ignore)
        assert place.effects() == 0
        assert target.held(self.order) is None

    def test_progress_adds_up_to_the_archive(self, target: Target) -> None:
        archive, told = export(size=1_000_000), list[int]()
        target.create(self.order, archive, told.append)
        assert sum(told) == archive.size

    def test_an_impossible_name_is_refused_beforehand(self, target: Target, place: Place) -> None:
        target.check(self.order, export().report)
        for order in (
            FunctionName("", self.order.package),
            FunctionName("x" * 500, self.order.package),
            FunctionName("a/b\n", self.order.package),
            FunctionName(self.order.func_name, "a/../b"),
        ):
            with pytest.raises(PermanentFailure) as refused:
                target.check(order, export().report)
            assert refused.value.hint.zh
        assert place.effects() == 0

    def test_many_threads_may_use_it(self, target: Target, place: Place) -> None:
        orders = [dataclasses.replace(self.order, func_name=f"hello-{n}") for n in range(8)]
        with ThreadPoolExecutor(4) as pool:
            landed = list(pool.map(lambda order: target.create(order, export(), ignore), orders))
        assert [one.func_name for one in landed] == [order.func_name for order in orders]
        assert place.effects() == 8

    def test_being_ready_changes_nothing(self, target: Target, place: Place) -> None:
        target.ready()
        assert place.effects() == 0


def _secrets(settings: Any) -> Iterator[str]:
    for value in dict(settings).values():
        if hasattr(value, "get_secret_value") and value.get_secret_value():
            yield value.get_secret_value()
