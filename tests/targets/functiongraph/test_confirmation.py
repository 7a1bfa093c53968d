"""An update counts only if the function shows it; and the digest that Relay learns from it."""

from __future__ import annotations

import json

import pytest

from relay.archive.checked_archive import CheckedArchive
from relay.errors import OutcomeUnknown, PermanentFailure, RelayError, TemporaryFailure
from relay.intents import IntentState
from relay.model import Json
from relay.targets.contract import FunctionName, ImportResult
from relay.targets.functiongraph.confirmation import digest_of_new_code, shows_new_code
from relay.targets.functiongraph.target import Target
from relay.targets.other_function import OtherFunction
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.target_suite import archive_of, export, ignore
from tests.targets.functiongraph.conftest import PROJECT, Clock, MakeTarget, by_key

HELLO = FunctionName("hello", "default")
URN = f"urn:fss:cn-north-4:{PROJECT}:function:default:hello"
OURS = {"func_urn": URN, "func_name": "hello", "package": "default", "runtime": "Python3.9"}
OLD = {"index.py": b"def handler(event, context):\n    return 'old'\n"}


@pytest.fixture
def target(sandbox: SandboxServer, make_target: MakeTarget, clock: Clock) -> Target:
    """A target that holds `hello` with OLD code for a day."""
    target = make_target(sandbox.url, **by_key(sandbox))
    target.create(HELLO, archive_of(make_export(code=OLD)), ChangeRecorder(), ignore)
    clock.advance(days=1)
    return target


@pytest.fixture
def recorder() -> ChangeRecorder:
    return ChangeRecorder()


def update(target: Target, archive: CheckedArchive, recorder: ChangeRecorder) -> ImportResult:
    existing = target.held(HELLO)
    assert existing is not None
    return target.replace(existing, archive, recorder, ignore)


def settings(**properties: object) -> CheckedArchive:
    return archive_of(make_export(code=OLD, **properties))


def skip(sandbox: SandboxServer, *operations: str) -> None:
    """Let these calls succeed before the next fault of the operation."""
    for operation in operations:
        sandbox.fault(operation=operation)


def operations(sandbox: SandboxServer) -> list[str]:
    return [call.operation for call in sandbox.calls]


CALLS = {"update_code": export("new"), "update_config": settings(Timeout=30)}
NAMELESS = {"nothing": "", "an object": "{}", "an error": '{"error_code": "FSS.0500"}'}
OTHERS = {
    "a name": {"func_name": "other", "package": "default"},
    "a package": {"func_name": "hello", "package": "other"},
    "a URN": {"func_urn": URN.replace("hello", "other")},
    "a URN beside the name": {"func_name": "hello", "func_urn": URN.replace("hello", "other")},
}


# Responses to the calls


@pytest.mark.parametrize("commit", [False, True])
@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("answer", NAMELESS.values(), ids=NAMELESS)
@pytest.mark.parametrize("operation", CALLS)
def test_a_success_that_names_no_function_confirms_nothing(
    target: Target,
    sandbox: SandboxServer,
    recorder: ChangeRecorder,
    operation: str,
    answer: str,
    status: int,
    commit: bool,
) -> None:
    answer = "" if status == 204 else answer
    sandbox.fault(operation=operation, status=status, answer=answer, commit=commit)
    with pytest.raises(OutcomeUnknown) as unknown:
        update(target, CALLS[operation], recorder)
    assert unknown.value.code == "functiongraph.unreadable"
    assert [call.state for call in recorder.calls] == [IntentState.OPEN]
    update(target, CALLS[operation], recorder)
    assert [call.state for call in recorder.calls[1:]] == [IntentState.APPLIED][commit:]


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("operation", CALLS)
def test_a_success_that_names_another_function_confirms_nothing(
    target: Target,
    sandbox: SandboxServer,
    recorder: ChangeRecorder,
    operation: str,
    fields: Json,
) -> None:
    sandbox.fault(operation=operation, answer=json.dumps(fields))
    with pytest.raises(OtherFunction) as other:
        update(target, CALLS[operation], recorder)
    assert other.value.named != HELLO
    assert [call.state for call in recorder.calls] == [IntentState.OPEN]


@pytest.mark.parametrize(
    "fields", [{}, {"code_size": 3, "digest": "ab" * 64}, {"digest": export("new").code_digest()}]
)
@pytest.mark.parametrize("operation", CALLS)
def test_a_success_that_the_function_does_not_show_confirms_nothing(
    target: Target,
    sandbox: SandboxServer,
    recorder: ChangeRecorder,
    operation: str,
    fields: Json,
) -> None:
    before = sandbox.functions["hello"]
    sandbox.fault(operation=operation, answer=json.dumps({**OURS, **fields}))
    with pytest.raises(OutcomeUnknown) as unknown:
        update(target, CALLS[operation], recorder)
    assert unknown.value.code == "functiongraph.not_shown"
    assert unknown.value.effect == ()
    assert [call.state for call in recorder.calls] == [IntentState.OPEN]
    assert sandbox.functions["hello"] == before


@pytest.mark.parametrize(("status", "kind"), [(500, TemporaryFailure), (403, PermanentFailure)])
@pytest.mark.parametrize("operation", CALLS)
def test_without_a_read_afterwards_the_call_stays_open(
    target: Target,
    sandbox: SandboxServer,
    recorder: ChangeRecorder,
    operation: str,
    status: int,
    kind: type[RelayError],
) -> None:
    skip(sandbox, *["config"] * (2 if operation == "update_code" else 3))
    sandbox.fault(operation="config", status=status)
    with pytest.raises(kind):
        update(target, CALLS[operation], recorder)
    assert [call.state for call in recorder.calls] == [IntentState.OPEN]


def test_the_function_is_read_once_after_each_call(
    target: Target, sandbox: SandboxServer, recorder: ChangeRecorder
) -> None:
    existing = target.held(HELLO)
    assert existing is not None
    before = len(sandbox.calls)
    both = archive_of(make_export(code={"index.py": b"new"}, Timeout=30))
    result = target.replace(existing, both, recorder, ignore)
    assert operations(sandbox)[before:] == [
        *("config", "update_code", "config"),
        *("config", "update_config", "config"),
    ]
    assert result.answer["request_id"] == sandbox.calls[-2].request_id
    assert "warnings" not in result.answer or result.answer["warnings"] == []


def test_a_setting_that_reads_back_differently_is_named(
    target: Target, sandbox: SandboxServer, recorder: ChangeRecorder
) -> None:
    shown = {**OURS, "timeout": 20, "memory_size": 256, "handler": "index.handler"}
    skip(sandbox, *["config"] * 3)
    sandbox.fault(operation="config", answer=json.dumps(shown))
    result = update(target, settings(Timeout=30, MemorySize=256), recorder)
    (warning,) = result.answer["warnings"]
    assert warning["code"] == "functiongraph.config_differs"
    assert warning["message"].endswith("for: Timeout")
    assert [call.state for call in recorder.calls] == [IntentState.APPLIED]


def test_a_secret_that_reads_back_masked_is_not_named(
    target: Target, sandbox: SandboxServer, recorder: ChangeRecorder
) -> None:
    result = update(target, settings(EncryptedUserData={"A": "secret"}), recorder)
    assert result.answer["warnings"] == []
    assert sandbox.functions["hello"].config["encrypted_user_data"] == '{"A": "secret"}'


# Equal code under another digest rule


def test_equal_code_under_an_unknown_digest_moves_the_time(
    clock: Clock, make_target: MakeTarget, recorder: ChangeRecorder
) -> None:
    with SandboxServer(project_id=PROJECT, clock=clock, digest_of=lambda _: "d" * 32) as cloud:
        target = make_target(cloud.url, **by_key(cloud))
        target.create(HELLO, export(), recorder, ignore)
        with pytest.raises(OutcomeUnknown):  # within the same second
            update(target, export(), recorder)
        clock.advance(seconds=1)
        result = update(target, export(), recorder)
    assert result.answer["effect"] == ["code"]
    assert "digest" not in result.answer


EARLIER, LATER = "2026-11-24 12:00:00", "2026-11-25 12:00:00"


def shown(digest: str | None = "old", size: int = 3, time: str | None = EARLIER) -> Json:
    return {"digest": digest, "code_size": size, "last_modified": time}


@pytest.mark.parametrize(
    ("before", "answer", "after", "is_shown"),
    [
        (shown(), {}, shown(), False),
        (shown(), shown(), shown(), False),
        (shown(), shown("md5"), shown("md5"), True),
        (shown(), {}, shown(size=4), True),
        (shown(), {}, shown(time=LATER), True),
        (shown(), shown(), shown(time=LATER), True),
        (shown(), shown(), shown("else's"), False),
        (shown(), shown(), shown("ours"), True),
        (shown("ours"), shown("ours"), shown("ours"), True),
        (shown(None), shown(None), shown(None), False),
        (shown(time=None), shown(time=None), shown(time=None), True),
        (shown(time="gestern"), shown(time="gestern"), shown(time="gestern"), True),
        (shown(time="1796047088"), {}, shown(time="1796047088"), False),
    ],
)
def test_what_shows_that_code_was_updated(
    before: Json, answer: Json, after: Json, is_shown: bool
) -> None:
    assert shows_new_code(before, answer, after, {"ours"}) is is_shown


@pytest.mark.parametrize(
    ("answer", "after", "digest"),
    [
        (shown("md5", time=LATER), shown("MD5", time=LATER), "md5"),
        (shown(None, time=LATER), shown("md5", time=LATER), "md5"),
        ({}, shown("ours"), "ours"),
        ({}, shown("md5", time=LATER), None),
        (shown(None, time=EARLIER), shown("md5", time=LATER), None),
        (shown("md5"), shown("else's"), None),
        (shown("old"), shown("old", time=LATER), None),
        (shown("old"), shown("md5", time=LATER), None),
        (shown(None), shown(None), None),
    ],
)
def test_the_digest_of_new_code_is_never_that_of_other_code(
    answer: Json, after: Json, digest: str | None
) -> None:
    assert digest_of_new_code(shown(), answer, after, {"ours"}) == digest


def test_the_response_to_a_configuration_tells_no_digest(
    target: Target, sandbox: SandboxServer, recorder: ChangeRecorder
) -> None:
    answer = json.dumps({**OURS, "digest": "ab" * 64})
    sandbox.fault(operation="update_config", answer=answer, commit=True)
    result = update(target, settings(Timeout=30), recorder)
    assert result.answer["effect"] == ["configuration"]
    assert "digest" not in result.answer


# Hints after the code was updated


def test_a_hint_does_not_say_that_nothing_was_changed(
    target: Target, sandbox: SandboxServer, recorder: ChangeRecorder
) -> None:
    both = archive_of(make_export(code={"index.py": b"new"}, Timeout=30))
    masked = json.dumps({**OURS, "encrypted_user_data": "***", "last_modified": "later"})
    skip(sandbox, *["config"] * 2)
    sandbox.fault(operation="config", answer=masked)
    with pytest.raises(PermanentFailure) as refused:
        update(target, both, recorder)
    assert (refused.value.code, refused.value.effect) == ("functiongraph.config_masked", ("code",))
    assert refused.value.hint.en.startswith("Add EncryptedUserData to the YAML")
    assert refused.value.hint.zh.startswith("请在导出包的 YAML 中加入")


def test_a_hint_about_the_connection_does_not_say_so_either(
    target: Target, sandbox: SandboxServer, recorder: ChangeRecorder
) -> None:
    both = archive_of(make_export(code={"index.py": b"new"}, Timeout=30))
    sandbox.fault(operation="update_config", cut_after=0, status=200, answer="{}")
    with pytest.raises(TemporaryFailure) as failed:
        update(target, both, recorder)
    assert failed.value.effect == ("code",)
    assert "changed" not in failed.value.hint.en
    assert "更改" not in failed.value.hint.zh
