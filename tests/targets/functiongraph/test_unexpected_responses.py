"""Successes of the API that prove nothing: from a proxy, a replica, or for another function."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from relay.archive.checked_archive import CheckedArchive
from relay.errors import OutcomeUnknown, TemporaryFailure
from relay.intents import IntentState
from relay.model import Json
from relay.targets.contract import ExistingFunction, FunctionName
from relay.targets.functiongraph.target import Target
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.target_suite import archive_of, export, ignore
from tests.targets.functiongraph.conftest import PROJECT, MakeTarget, by_key, by_token

HELLO = FunctionName("hello", "default")
URN = f"urn:fss:cn-north-4:{PROJECT}:function:default:hello"
OURS = {"func_urn": URN, "func_name": "hello", "package": "default", "runtime": "Python3.9"}


@pytest.fixture
def target(sandbox: SandboxServer, make_target: MakeTarget) -> Target:
    return make_target(sandbox.url, **by_key(sandbox), **by_token(sandbox))


def held(target: Target) -> ExistingFunction:
    found = target.held(HELLO)
    assert found is not None
    return found


def settings(**properties: object) -> CheckedArchive:
    return archive_of(make_export(**properties))


def call_of(target: Target, operation: str) -> Callable[[ChangeRecorder], object]:
    """Return the call that makes the operation, with a large archive."""
    archive = export(size=20_000_000)
    if operation == "import":
        return lambda recorder: target.create(HELLO, archive, recorder, ignore)
    existing = held(target)
    return lambda recorder: target.replace(existing, archive, recorder, ignore)


# Before the request was sent


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("operation", ["import", "update_code"])
def test_a_success_before_the_body_was_sent_is_none(
    target: Target, sandbox: SandboxServer, operation: str, status: int
) -> None:
    if operation == "update_code":
        sandbox.hold("hello", code=b"x")
    call, recorder = call_of(target, operation), ChangeRecorder()
    answer = json.dumps(OURS) if status == 200 else ""
    sandbox.fault(operation=operation, cut_after=1000, status=status, answer=answer)
    with pytest.raises(TemporaryFailure) as cut:
        call(recorder)
    assert (type(cut.value), cut.value.code) == (TemporaryFailure, "outbound.interrupted")
    assert [call.state for call in recorder.calls] in ([], [IntentState.NEVER_SENT])
    call(recorder)
    assert recorder.calls[-1].digest == sandbox.functions["hello"].digest


# Reads


def answers(**fields: object) -> str:
    return json.dumps({**OURS, **fields})


NOT_THE_CONFIGURATION = {
    "empty": "",
    "an empty object": "{}",
    "a list": "[]",
    "no runtime": json.dumps({"func_name": "hello"}),
    "no name": json.dumps({"func_urn": URN, "runtime": "Python3.9"}),
    "an error": answers(error_code="FSS.0500", error_msg="internal"),
    "another name": answers(func_name="other"),
    "another package": answers(package="other"),
    "a URN with another name": answers(func_urn=URN.replace("hello", "other")),
    "a URN with another package": answers(func_urn=URN.replace("default", "other")),
    "a URN with another project": answers(func_urn=URN.replace(PROJECT, "f" * 32)),
    "a URN with a version": answers(func_urn=f"{URN}:v1"),
    "a URN of something else": answers(func_urn="urn:smn:x"),
    "a URN of a trigger": answers(func_urn=URN.replace(":function:", ":trigger:")),
}


@pytest.mark.parametrize("answer", NOT_THE_CONFIGURATION.values(), ids=NOT_THE_CONFIGURATION)
def test_a_response_that_is_not_the_configuration_is_no_answer(
    target: Target, sandbox: SandboxServer, answer: str
) -> None:
    sandbox.hold("hello", code=b"x", xrole="kept")
    sandbox.hold("other", code=b"x")
    before, found, recorder = sandbox.functions, held(target), ChangeRecorder()
    sandbox.fault(operation="config", answer=answer, times=4)
    reads: list[Callable[[], object]] = [
        lambda: target.held(HELLO),
        lambda: target.configuration_digest(found),
        lambda: target.differences(found, export()),
        lambda: target.replace(found, export(), recorder, ignore),
    ]
    for read in reads:
        with pytest.raises(TemporaryFailure) as unusable:
            read()
        assert (type(unusable.value), unusable.value.code) == (
            TemporaryFailure,
            "functiongraph.unreadable",
        )
    assert recorder.calls == []
    assert sandbox.functions == before


@pytest.mark.parametrize("skipped", [0, 1])
def test_a_single_read_for_another_function_does_not_overwrite_it(
    target: Target, sandbox: SandboxServer, skipped: int
) -> None:
    sandbox.hold("hello", code=b"x")
    sandbox.hold("billing", code=b"y", xrole="other")
    billing = sandbox.functions["billing"]
    found = held(target)
    if skipped:
        sandbox.fault(operation="config")
    sandbox.fault(operation="config", answer=answers(func_name="billing", xrole="other"))
    with pytest.raises(TemporaryFailure):
        target.replace(found, settings(Timeout=30), ChangeRecorder(), ignore)
    assert sandbox.functions["billing"] == billing
    assert sandbox.functions["hello"].config["xrole"] == ""


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        json.dumps({"functions": "many"}),
        json.dumps({"functions": [{**OURS, "func_urn": URN.replace("hello", "other")}]}),
        json.dumps({"functions": [{"func_name": "hello"}]}),
    ],
)
def test_a_listing_that_cannot_be_used_does_not_make_a_name_free(
    target: Target, sandbox: SandboxServer, answer: str
) -> None:
    sandbox.fault(operation="list", answer=answer)
    with pytest.raises(TemporaryFailure) as unusable:
        target.held(HELLO)
    assert unusable.value.code == "functiongraph.unreadable"


@pytest.mark.parametrize("functions", [[], None])
def test_an_empty_listing_makes_a_name_free(
    target: Target, sandbox: SandboxServer, functions: object
) -> None:
    sandbox.fault(operation="list", answer=json.dumps({"functions": functions, "count": 0}))
    assert target.held(HELLO) is None


def test_a_configuration_may_leave_out_package_and_urn(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.fault(
        operation="config",
        answer=json.dumps({"func_name": "hello", "runtime": "http", "code_size": "12"}),
    )
    assert held(target) == ExistingFunction(URN, "hello", "default", code_size=12)


# Responses to a new function


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"func_name": "test_v1_2", "func_urn": URN.replace("hello", "test_v1_2")}, "test_v1_2"),
        ({"func_urn": URN.replace("hello", "other")}, "other"),
        ({"func_name": "other"}, "other"),
        ({"func_name": None, "package": None}, "hello"),
    ],
)
def test_the_name_of_a_new_function_is_that_of_its_urn_and_its_fields(
    target: Target, sandbox: SandboxServer, fields: Json, named: str
) -> None:
    sandbox.fault(operation="import", answer=answers(**fields, code_size="7"))
    result = target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert (result.func_name, result.package) == (named, "default")
    assert result.answer["code_size"] == 7


def test_a_new_function_in_another_project_is_not_ours(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.fault(operation="import", answer=answers(func_urn=URN.replace(PROJECT, "f" * 32)))
    with pytest.raises(OutcomeUnknown) as unusable:
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert unusable.value.code == "functiongraph.unreadable"
