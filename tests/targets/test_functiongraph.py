"""The FunctionGraph target against the sandbox: real HTTP, real signatures, real faults."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import zipfile
from dataclasses import replace
from typing import Any

import pytest
import requests
from urllib3.connection import HTTPConnection

from relay.archive.checked_archive import CheckedArchive
from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.targets.contract import FunctionName
from relay.targets.functiongraph.client import Sending
from relay.targets.functiongraph.target import Target
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.target_suite import TargetSuite, archive_of, export, ignore
from tests.targets.conftest import MakeTarget, Scripted, by_key, by_token

ORDER = FunctionName("hello", "default")


class SandboxPlace:
    """The sandbox as the suite commands it."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self._sandbox = sandbox

    def lose_answer(self) -> None:
        self._sandbox.fault(operation="import", commit=True, drop=True)

    def cut(self) -> None:
        self._sandbox.fault(operation="import", cut_after=1000)

    def ask_to_wait(self, seconds: int) -> None:
        self._sandbox.fault(operation="import", status=429, retry_after=seconds)

    def effects(self) -> int:
        return len(self._sandbox.imports)


@pytest.fixture
def place(sandbox: SandboxServer) -> SandboxPlace:
    return SandboxPlace(sandbox)


@pytest.fixture
def nowhere(make: MakeTarget) -> Target:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return make(f"http://127.0.0.1:{port}", access_key="a", secret_key="b")


class TestWithAnAccessKey(TargetSuite):
    @pytest.fixture
    def target(self, sandbox: SandboxServer, make: MakeTarget) -> Target:
        return make(sandbox.url, **by_key(sandbox))

    @pytest.fixture
    def stranger(self, sandbox: SandboxServer, make: MakeTarget) -> Target:
        return make(sandbox.url, access_key=sandbox.access_key, secret_key="wrong-secret-word")


class TestWithAToken(TargetSuite):
    @pytest.fixture
    def target(self, sandbox: SandboxServer, make: MakeTarget) -> Target:
        return make(sandbox.url, **by_token(sandbox))

    @pytest.fixture
    def stranger(self, sandbox: SandboxServer, make: MakeTarget) -> Target:
        wrong = {**by_token(sandbox), "iam_password": "wrong-secret-word"}
        return make(sandbox.url, **wrong)


@pytest.fixture
def target(sandbox: SandboxServer, make: MakeTarget) -> Target:
    return make(sandbox.url, **by_key(sandbox), **by_token(sandbox))


def operations(sandbox: SandboxServer) -> list[str]:
    return [call.operation for call in sandbox.calls]


# Creating


def test_what_is_worth_keeping_of_the_answer_is_kept(target: Target) -> None:
    archive = export()
    landed = target.create(ORDER, archive, ignore)
    assert ":function:default:hello" in landed.urn
    assert set(landed.answer) == {
        "func_urn",
        "runtime",
        "version",
        "digest",
        "code_size",
        "last_modified",
        "request_id",
    }
    assert landed.answer["digest"] == archive.code_digest()


def test_asking_and_importing_take_one_connection(
    target: Target, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a TLS handshake on a real one."""
    opened = []
    connect = HTTPConnection.connect
    monkeypatch.setattr(HTTPConnection, "connect", lambda one: opened.append(1) or connect(one))
    assert target.held(ORDER) is None
    target.create(ORDER, export(), ignore)
    assert target.held(ORDER)
    assert (len(opened), len(sandbox.calls)) == (1, 4)


def test_a_big_body_arrives_whole_with_its_exact_length(
    target: Target, sandbox: SandboxServer
) -> None:
    archive = export(size=20_000_000)
    target.create(ORDER, archive, ignore)
    (call,) = sandbox.imports
    fields = {"func_name": "hello", "package": "default", "file_name": "hello.zip"}
    frame = json.dumps({**fields, "file_type": "zip", "file_code": ""})
    assert call.received == len(frame) + (archive.size + 2) // 3 * 4


@pytest.mark.parametrize(
    ("cut_after", "status", "code"),
    [(100_000, 413, "FSS.0413"), (100_000, 401, "APIGW.0301"), (0, 409, "FSS.1061")],
)
def test_an_answer_that_comes_while_sending_is_read(
    target: Target, sandbox: SandboxServer, cut_after: int, status: int, code: str
) -> None:
    sandbox.fault(operation="import", cut_after=cut_after, status=status, code=code)
    archive, sent = export(size=60_000_000), list[int]()
    with pytest.raises(PermanentFailure) as refused:
        target.create(ORDER, archive, sent.append)
    assert f"{status} {code}" in (refused.value.answer or "")
    assert sum(sent) < archive.size / 2


def test_a_reset_before_the_last_byte_is_not_ambiguous(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.fault(operation="import", cut_after=5_000_000)
    with pytest.raises(TemporaryFailure) as cut:
        target.create(ORDER, export(size=60_000_000), ignore)
    assert not isinstance(cut.value, OutcomeUnknown)
    assert sandbox.imports == []


def test_an_answer_that_does_not_come_in_time_is_ambiguous(
    make: MakeTarget, sandbox: SandboxServer
) -> None:
    hasty = make(sandbox.url, read_timeout=0.3, **by_key(sandbox))
    sandbox.fault(operation="import", delay=2)
    archive = export()
    with pytest.raises(OutcomeUnknown):
        hasty.create(ORDER, archive, ignore)
    held = hasty.held(ORDER)
    assert held is not None
    assert held.digest == archive.code_digest()


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_trouble_behind_the_gateway_is_ambiguous(
    target: Target, sandbox: SandboxServer, status: int
) -> None:
    sandbox.fault(operation="import", status=status, commit=True)
    with pytest.raises(OutcomeUnknown):
        target.create(ORDER, export(), ignore)
    assert target.held(ORDER) is not None


def test_an_exception_of_the_one_who_watches_passes_and_nothing_is_imported(
    target: Target, sandbox: SandboxServer
) -> None:
    class Lost(BaseException):
        pass

    def stop(_: int) -> None:
        raise Lost

    with pytest.raises(Lost):
        target.create(ORDER, export(size=3_000_000), stop)
    assert target.held(ORDER) is None
    assert sandbox.imports == []


def test_a_name_taken_in_another_package_is_found_there(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.hold("hello", package="other", code=b"print()")
    with pytest.raises(NameTaken):
        target.create(ORDER, export(), ignore)
    held = target.held(ORDER)
    assert held is not None
    assert held.package == "other"
    assert held.digest == hashlib.sha512(b"print()").hexdigest()


def test_a_success_without_a_name_is_asked_about(scripted: Scripted, make: MakeTarget) -> None:
    target = make(scripted.url, access_key="a", secret_key="b")
    scripted.body = {"hello": "I am a proxy"}
    with pytest.raises(OutcomeUnknown):
        target.create(ORDER, export(), ignore)
    scripted.body = "<html>welcome to the hotel</html>"
    with pytest.raises(OutcomeUnknown):
        target.create(ORDER, export(), ignore)


@pytest.mark.parametrize("chunks", [[b"abc"], [b"abc", b"de"]], ids=["shorter", "longer"])
def test_a_body_that_lies_about_its_length_never_becomes_a_whole_request(
    scripted: Scripted, chunks: list[bytes]
) -> None:
    class Liar(list[bytes]):
        def __len__(self) -> int:
            return 4

    sending = Sending(Liar(chunks))
    with pytest.raises(ValueError, match="than it said"):
        requests.post(scripted.url, data=sending, timeout=5)
    assert scripted.calls == []
    assert not sending.whole


# Asking


def test_a_wrong_endpoint_does_not_mean_that_nothing_is_held(
    scripted: Scripted, make: MakeTarget
) -> None:
    target = make(scripted.url, access_key="a", secret_key="b")
    scripted.status = 404
    scripted.body = {"error_code": "APIG.0101", "error_msg": "The API does not exist"}
    with pytest.raises(PermanentFailure) as failed:
        target.held(ORDER)
    assert "endpoint" in failed.value.hint.en
    scripted.body = "<html>404</html>"
    with pytest.raises(PermanentFailure):
        target.held(ORDER)


def test_a_name_is_looked_for_on_every_page(
    monkeypatch: pytest.MonkeyPatch, target: Target, sandbox: SandboxServer
) -> None:
    monkeypatch.setattr("relay.targets.functiongraph.target.PAGE", 2)
    for name in ("a", "b", "c", "d", "hello"):
        sandbox.hold(name, package="other", code=b"x")
    listed = [one["func_name"] for one in target._listed("hello")]
    assert listed == ["hello"]
    assert target.held(FunctionName("nobody", "default")) is None


def test_trouble_while_asking_is_temporary_and_changes_nothing(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.fault(operation="config", status=500)
    with pytest.raises(TemporaryFailure) as failed:
        target.held(ORDER)
    assert not isinstance(failed.value, OutcomeUnknown)


# Replacing


def test_code_that_is_there_already_is_not_sent_again(
    target: Target, sandbox: SandboxServer
) -> None:
    archive = export()
    target.create(ORDER, archive, ignore)
    held = target.held(ORDER)
    assert held is not None
    target.replace(held, archive, ignore)
    assert "update_code" not in operations(sandbox)
    assert operations(sandbox)[-1] == "update_config"


def made(code: dict[str, bytes] | None = None, **properties: Any) -> CheckedArchive:
    return archive_of(make_export(code=code, **properties))


def test_replacing_brings_the_configuration_of_the_export(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(ORDER, export(), ignore)
    held = target.held(ORDER)
    assert held is not None
    newer = made(
        {"index.py": b"other"},
        runtime="Python3.10",
        handler="main.run",
        Timeout=30,
        MemorySize=256,
        Description="说明",
        Environment={"Variables": {"GREETING": "你好"}},
    )
    landed = target.replace(held, newer, ignore)
    config = sandbox.functions["hello"].config
    assert {name: config[name] for name in ("runtime", "handler", "timeout", "memory_size")} == {
        "runtime": "Python3.10",
        "handler": "main.run",
        "timeout": 30,
        "memory_size": 256,
    }
    assert config["description"] == "说明"
    assert json.loads(config["user_data"]) == {"GREETING": "你好"}
    assert landed.answer["digest"] == newer.code_digest()
    assert landed.answer["runtime"] == "Python3.10"


@pytest.mark.parametrize(
    ("name", "code_type"), [("index.zip", "zip"), ("app.JAR", "jar"), ("index.py", "inline")]
)
def test_the_code_is_sent_as_what_its_name_says(
    target: Target, sandbox: SandboxServer, name: str, code_type: str
) -> None:
    target.create(ORDER, export(), ignore)
    held = target.held(ORDER)
    assert held is not None
    archive = made({"index.py": b"other"})
    told = archive.report.export
    assert told is not None
    properties = {**told.properties, "CodeFileName": name}
    archive.report = replace(archive.report, export=replace(told, properties=properties))
    target.replace(held, archive, ignore)
    function = sandbox.functions["hello"]
    assert (function.code_type, function.code_filename) == (code_type, name)


def test_what_the_export_does_not_say_stays_as_it_is(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(ORDER, made(Timeout=30, Description="old"), ignore)
    held = target.held(ORDER)
    assert held is not None
    archive = made({"index.py": b"other"}, Timeout=60)
    told = archive.report.export
    assert told is not None
    few = {key: told.properties[key] for key in ("CodeFileName", "Handler")}
    archive.report = replace(archive.report, export=replace(told, properties=few))
    target.replace(held, archive, ignore)
    config = sandbox.functions["hello"].config
    assert (config["timeout"], config["description"]) == (30, "old")
    assert sandbox.functions["hello"].digest == archive.code_digest()


def test_replacing_needs_an_export(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    held = target.held(ORDER)
    assert held is not None
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as file:
        file.writestr("index.py", "x")
    archive = archive_of(plain.getvalue())
    with pytest.raises(PermanentFailure) as refused:
        target.replace(held, archive, ignore)
    assert refused.value.code == "functiongraph.no_export"


def test_a_lost_answer_to_replacing_is_ambiguous_and_may_be_repeated(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(ORDER, export("first"), ignore)
    held = target.held(ORDER)
    assert held is not None
    sandbox.fault(operation="update_code", commit=True, drop=True)
    with pytest.raises(OutcomeUnknown):
        target.replace(held, export("second"), ignore)
    target.replace(held, export("second"), ignore)
    assert sandbox.functions["hello"].digest == export("second").code_digest()


def test_a_conflict_while_replacing_is_no_taken_name(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(ORDER, export("first"), ignore)
    held = target.held(ORDER)
    assert held is not None
    sandbox.fault(operation="update_code", status=409, code="FSS.0409")
    with pytest.raises(PermanentFailure) as refused:
        target.replace(held, export("second"), ignore)
    assert not isinstance(refused.value, NameTaken)


# Before anything is sent


@pytest.mark.parametrize(
    "name", ["a", "A1", "a" * 60, "under_score", "with-dash", "a-1"], ids=lambda name: name[:12]
)
def test_a_name_within_the_rules_is_taken(target: Target, name: str) -> None:
    target.check(FunctionName(name, "default"), export().report)


@pytest.mark.parametrize(
    "name",
    ["", "1a", "a" * 61, "a-", "a_", "-a", "a b", "a.b", "名", "a\n", "é"],
    ids=lambda name: repr(name[:12]),
)
def test_a_name_outside_the_rules_is_refused(target: Target, name: str) -> None:
    with pytest.raises(PermanentFailure) as refused:
        target.check(FunctionName(name, "default"), export().report)
    assert refused.value.code == "functiongraph.func_name"


@pytest.mark.parametrize("package", ["", "a-b", "a b", "包", "a\n"], ids=repr)
def test_a_package_outside_the_rules_is_refused(target: Target, package: str) -> None:
    with pytest.raises(PermanentFailure) as refused:
        target.check(FunctionName("hello", package), export().report)
    assert refused.value.code == "functiongraph.package"


def test_an_archive_over_the_limit_is_refused(make: MakeTarget, sandbox: SandboxServer) -> None:
    target = make(sandbox.url, max_size="1MiB", **by_token(sandbox))
    report = replace(export().report, size=2**20)
    target.check(ORDER, report)
    with pytest.raises(PermanentFailure) as refused:
        target.check(ORDER, replace(report, size=2**20 + 1))
    assert refused.value.code == "functiongraph.too_large"
    assert "targets.prod.max_size" in refused.value.hint.en


def test_being_ready_says_what_was_seen(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("one", code=b"x")
    assert target.ready() == (
        "project 0123456789abcdef0123456789abcdef: access key from relay.toml accepted,"
        " token for iam_user from relay.toml accepted;"
        " 1 of 400 functions used"
    )
