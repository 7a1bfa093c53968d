"""Wrappers around targets and sources implement the whole protocol that they wrap."""

import inspect
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from relay.archive.inspect import ArchiveReport
from relay.config.load import TargetSettings
from relay.delivery.outcomes import RespondingTarget
from relay.delivery.pinning import ObjectReader
from relay.delivery.prefetch import PrefetchedObject
from relay.errors import PermanentFailure
from relay.sources.contract import StorageHandler
from relay.targets.contract import FunctionName, Target, UpdateOptions

FUNCTION = FunctionName("hello", "default")
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "check": (FUNCTION, ArchiveReport(10, (), (), None)),
    "held": (FUNCTION,),
    "create": (FUNCTION, object(), object(), print),
    "replace": (object(), object(), object(), print, UpdateOptions(replace_environment=True)),
    "differences": (object(), object(), UpdateOptions(replace_environment=True)),
    "configuration_digest": (object(),),
    "ready": (),
    "close": (),
}


class RecordingTarget(Target):
    """Records each call and returns the name of the method."""

    def __init__(self) -> None:
        super().__init__("prod", TargetSettings(kind="fake"), outbound=object())
        self.calls: list[tuple[Any, ...]] = []

    def check(self, *arguments: Any) -> Any:
        self.calls.append(("check", *arguments))

    def held(self, *arguments: Any) -> Any:
        return self._record("held", arguments)

    def create(self, *arguments: Any) -> Any:
        return self._record("create", arguments)

    def replace(self, *arguments: Any) -> Any:
        return self._record("replace", arguments)

    def differences(self, *arguments: Any) -> Any:
        return self._record("differences", arguments)

    def configuration_digest(self, *arguments: Any) -> Any:
        return self._record("configuration_digest", arguments)

    def ready(self) -> Any:
        return self._record("ready", ())

    def close(self) -> Any:
        self.calls.append(("close",))

    def _record(self, method: str, arguments: tuple[Any, ...]) -> str:
        self.calls.append((method, *arguments))
        return method


def public_methods(contract: type) -> set[str]:
    functions = inspect.getmembers(contract, inspect.isfunction)
    return {name for name, _ in functions if not name.startswith("_")}


def test_every_method_of_a_target_is_known_here():
    assert set(ARGUMENTS) == public_methods(Target)


@pytest.mark.parametrize("method", ARGUMENTS)
def test_a_responding_target_delegates_every_method(method):
    target = RecordingTarget()
    result = getattr(RespondingTarget(target), method)(*ARGUMENTS[method])
    assert target.calls == [(method, *ARGUMENTS[method])]
    assert result == (None if method in ("check", "close") else method)


def test_a_responding_target_has_the_attributes_of_the_wrapped_target():
    target = RecordingTarget()
    wrapper = RespondingTarget(target)
    assert (wrapper.name, wrapper.settings) == ("prod", target.settings)
    assert wrapper.outbound is target.outbound


@pytest.mark.parametrize(
    ("error", "responded"),
    [
        (None, True),
        (PermanentFailure("x.400", "no", answer="400 no"), True),
        (PermanentFailure("outbound.private", "refused by our guard"), False),
    ],
)
def test_a_responding_target_records_whether_the_target_responded(error, responded):
    def held(_function):
        if error:
            raise error

    wrapper = RespondingTarget(SimpleNamespace(held=held))
    assert not wrapper.responded
    with suppress(PermanentFailure):
        wrapper.held(FUNCTION)
    assert wrapper.responded is responded


@pytest.mark.parametrize("method", sorted(public_methods(ObjectReader)))
def test_a_prefetched_object_has_every_method_of_an_object_reader(method):
    expected = inspect.signature(getattr(StorageHandler, method))
    assert inspect.signature(getattr(PrefetchedObject, method)) == expected
