"""TargetSuite: the conformance tests for targets, run against a real server with faults.

A test class for a target inherits the suite and defines four fixtures:

    class TestMyTarget(TargetSuite):
        @pytest.fixture
        def server(self): ...                       # a TargetServer
        @pytest.fixture
        def target(self, server): ...               # a working configuration
        @pytest.fixture
        def unauthorized_target(self, server): ...  # the same with wrong credentials
        @pytest.fixture
        def unreachable_target(self): ...           # the same with an address without a server
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
from relay.intents import ChangeCall, IntentState
from relay.model import ObjectInfo
from relay.targets.contract import FunctionName, Target, UpdateOptions
from relay.testing.change_recorder import ChangeForbidden, ChangeRecorder
from relay.testing.sandbox.exports import make_export


class TargetServer(Protocol):
    """The faults that the suite requests from the server behind the target."""

    def lose_response(self) -> None:
        """Execute the next import but drop the response."""

    def interrupt_upload(self) -> None:
        """Close the connection while the body of the next import is being sent."""

    def throttle(self, seconds: int) -> None:
        """Reject the next import with a rate limit that applies to all imports."""

    def import_count(self) -> int:
        """Return how many imports have created a function."""


class BytesStream:
    """An ObjectStream of bytes in memory."""

    def __init__(self, content: bytes, size: int) -> None:
        self.info = ObjectInfo(size)
        self._file = io.BytesIO(content)

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


def archive_of(content: bytes, inspected: bytes | None = None) -> CheckedArchive:
    """Return the archive of `content`; `inspected` are other bytes for the inspection."""
    inspected = content if inspected is None else inspected
    report = inspect(len(inspected), lambda start, end: inspected[start:end])
    return CheckedArchive(
        len(content),
        report,
        lambda start, end: BytesStream(content[start:end], len(content)),
    )


def export(word: str = "hello", function: str = "hello", size: int | None = None) -> CheckedArchive:
    """Return an export whose code returns `word`, padded to about `size` bytes."""
    code = {"index.py": f"def handler(event, context):\n    return {word!r}\n".encode()}
    return archive_of(make_export(function, code=code, code_size=size))


def ignore(_: int) -> None:
    """Discard the progress."""


class TargetSuite:
    """The tests that every target must pass."""

    function = FunctionName("hello", "default")

    def test_a_function_that_was_not_created_is_not_held(self, target: Target) -> None:
        assert target.held(self.function) is None

    def test_a_created_function_is_held(self, target: Target) -> None:
        archive = export()
        result = target.create(self.function, archive, ChangeRecorder(), ignore)
        held = target.held(self.function)
        assert held is not None
        assert (held.func_name, held.package) == (self.function.func_name, self.function.package)
        assert held.digest == archive.code_digest()
        assert (result.func_name, result.package) == (held.func_name, held.package)
        assert held.urn.startswith(result.urn)

    def test_every_change_is_recorded_before_it_takes_effect(self, target: Target) -> None:
        recorder, archive, newer = ChangeRecorder(), export("first"), export("second")
        target.create(self.function, archive, recorder, ignore)
        created = recorder.calls[0]
        assert (created.call, created.func_name) == (ChangeCall.CREATE, self.function.func_name)
        assert created.digest == archive.code_digest()
        held = target.held(self.function)
        assert held is not None
        target.replace(held, newer, recorder, ignore)
        updated = recorder.calls[1]
        assert updated.digest == newer.code_digest()

    def test_a_change_that_the_guard_forbids_is_not_made(
        self, target: Target, server: TargetServer
    ) -> None:
        with pytest.raises(ChangeForbidden):
            target.create(self.function, export(), ChangeRecorder(forbids=True), ignore)
        assert target.held(self.function) is None
        assert server.import_count() == 0
        target.create(self.function, export("first"), ChangeRecorder(), ignore)
        before = target.held(self.function)
        assert before is not None
        with pytest.raises(ChangeForbidden):
            target.replace(before, export("second"), ChangeRecorder(forbids=True), ignore)
        assert target.held(self.function) == before

    def test_a_refused_change_is_known_to_be_refused(self, target: Target) -> None:
        target.create(self.function, export("first"), ChangeRecorder(), ignore)
        recorder = ChangeRecorder()
        with pytest.raises(NameTaken):
            target.create(self.function, export("second"), recorder, ignore)
        assert [call.state for call in recorder.calls] in ([], [IntentState.REFUSED])

    def test_a_change_whose_response_is_lost_stays_open(
        self, target: Target, server: TargetServer
    ) -> None:
        server.lose_response()
        recorder = ChangeRecorder()
        with pytest.raises(OutcomeUnknown):
            target.create(self.function, export(), recorder, ignore)
        assert [call.state for call in recorder.calls] == [IntentState.OPEN]

    def test_creating_a_taken_name_fails_and_changes_nothing(
        self, target: Target, server: TargetServer
    ) -> None:
        target.create(self.function, export("first"), ChangeRecorder(), ignore)
        before = target.held(self.function)
        with pytest.raises(NameTaken):
            target.create(self.function, export("second"), ChangeRecorder(), ignore)
        assert target.held(self.function) == before
        assert server.import_count() == 1

    def test_replacing_updates_the_code_and_can_be_repeated(self, target: Target) -> None:
        target.create(self.function, export("first"), ChangeRecorder(), ignore)
        newer = export("second")
        for _ in range(2):
            held = target.held(self.function)
            assert held is not None
            target.replace(held, newer, ChangeRecorder(), ignore)
        after = target.held(self.function)
        assert after is not None
        assert after.digest == newer.code_digest()

    def test_code_that_the_target_holds_under_a_known_digest_is_not_sent(
        self, target: Target
    ) -> None:
        target.create(self.function, export("first"), ChangeRecorder(), ignore)
        held = target.held(self.function)
        assert held is not None
        recorder = ChangeRecorder()
        target.replace(
            held, export("second"), recorder, ignore, UpdateOptions(known_digest=held.digest)
        )
        assert ChangeCall.UPDATE_CODE not in [call.call for call in recorder.calls]

    def test_after_a_lost_response_the_outcome_is_unknown_and_held_reports_it(
        self, target: Target, server: TargetServer
    ) -> None:
        archive = export()
        server.lose_response()
        with pytest.raises(OutcomeUnknown):
            target.create(self.function, archive, ChangeRecorder(), ignore)
        held = target.held(self.function)
        assert held is not None
        assert held.digest == archive.code_digest()

    def test_an_interrupted_upload_has_no_effect_and_can_be_repeated(
        self, target: Target, server: TargetServer
    ) -> None:
        archive = export(size=8_000_000)
        server.interrupt_upload()
        with pytest.raises(TemporaryFailure) as failed:
            target.create(self.function, archive, ChangeRecorder(), ignore)
        assert not isinstance(failed.value, OutcomeUnknown)
        assert target.held(self.function) is None
        target.create(self.function, archive, ChangeRecorder(), ignore)
        assert server.import_count() == 1

    def test_a_rate_limit_throttles_all_imports_for_the_given_time(
        self, target: Target, server: TargetServer
    ) -> None:
        server.throttle(7)
        with pytest.raises(Throttled) as throttled:
            target.create(self.function, export(), ChangeRecorder(), ignore)
        assert throttled.value.retry_after == timedelta(seconds=7)
        assert server.import_count() == 0

    def test_wrong_credentials_are_permanent_and_have_a_hint(
        self, unauthorized_target: Target, server: TargetServer
    ) -> None:
        with pytest.raises(PermanentFailure) as refused:
            unauthorized_target.create(self.function, export(), ChangeRecorder(), ignore)
        assert refused.value.hint.en
        assert refused.value.hint.zh
        assert server.import_count() == 0

    def test_errors_contain_no_secret(self, unauthorized_target: Target) -> None:
        with pytest.raises(RelayError) as refused:
            unauthorized_target.create(self.function, export(), ChangeRecorder(), ignore)
        error = refused.value
        text = f"{error} {error.problem} {error.answer} {error.__cause__!r}"
        for secret in _secrets(unauthorized_target.settings):
            assert secret not in text

    def test_an_unreachable_server_is_temporary(self, unreachable_target: Target) -> None:
        with pytest.raises(TemporaryFailure) as failed:
            unreachable_target.create(self.function, export(), ChangeRecorder(), ignore)
        assert not isinstance(failed.value, OutcomeUnknown)

    def test_a_damaged_archive_is_never_imported(
        self, target: Target, server: TargetServer
    ) -> None:
        intact = make_export("hello", code_size=1_000_000)
        damaged = bytearray(intact)
        damaged[len(damaged) // 2] ^= 1
        with pytest.raises(PermanentFailure):
            target.create(
                self.function, archive_of(bytes(damaged), intact), ChangeRecorder(), ignore
            )
        assert server.import_count() == 0
        assert target.held(self.function) is None

    def test_progress_adds_up_to_the_archive_size(self, target: Target) -> None:
        archive, progress = export(size=1_000_000), list[int]()
        target.create(self.function, archive, ChangeRecorder(), progress.append)
        assert sum(progress) == archive.size

    def test_an_invalid_name_is_refused_by_check(
        self, target: Target, server: TargetServer
    ) -> None:
        target.check(self.function, export().report)
        for function in (
            FunctionName("", self.function.package),
            FunctionName("x" * 500, self.function.package),
            FunctionName("a/b\n", self.function.package),
            FunctionName(self.function.func_name, "a/../b"),
        ):
            with pytest.raises(PermanentFailure) as refused:
                target.check(function, export().report)
            assert refused.value.hint.zh
        assert server.import_count() == 0

    def test_many_threads_can_share_a_target(self, target: Target, server: TargetServer) -> None:
        functions = [dataclasses.replace(self.function, func_name=f"hello-{n}") for n in range(8)]
        with ThreadPoolExecutor(4) as pool:
            results = list(
                pool.map(
                    lambda name: target.create(name, export(), ChangeRecorder(), ignore), functions
                )
            )
        assert [result.func_name for result in results] == [name.func_name for name in functions]
        assert server.import_count() == 8

    def test_ready_changes_nothing(self, target: Target, server: TargetServer) -> None:
        target.ready()
        assert server.import_count() == 0


def _secrets(settings: Any) -> Iterator[str]:
    for value in dict(settings).values():
        if hasattr(value, "get_secret_value") and value.get_secret_value():
            yield value.get_secret_value()
