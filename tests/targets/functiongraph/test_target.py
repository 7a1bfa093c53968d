"""The FunctionGraph target against the sandbox, with real HTTP, signatures and faults."""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import replace

import pytest
from urllib3.connection import HTTPConnection

from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.targets.contract import FunctionName
from relay.targets.functiongraph.target import Target
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.target_suite import TargetSuite, export, ignore
from tests.targets.functiongraph.conftest import FakeServer, MakeTarget, by_key, by_token

HELLO = FunctionName("hello", "default")


class SandboxControls:
    """The faults of the sandbox that TargetSuite asks for."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self._sandbox = sandbox

    def lose_response(self) -> None:
        self._sandbox.fault(operation="import", commit=True, drop=True)

    def interrupt_upload(self) -> None:
        self._sandbox.fault(operation="import", cut_after=1000)

    def throttle(self, seconds: int) -> None:
        self._sandbox.fault(operation="import", status=429, retry_after=seconds)

    def import_count(self) -> int:
        return len(self._sandbox.imports)


@pytest.fixture
def server(sandbox: SandboxServer) -> SandboxControls:
    return SandboxControls(sandbox)


@pytest.fixture
def unreachable_target(make_target: MakeTarget) -> Target:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return make_target(f"http://127.0.0.1:{port}", access_key="a", secret_key="b")


class TestWithAnAccessKey(TargetSuite):
    @pytest.fixture
    def target(self, sandbox: SandboxServer, make_target: MakeTarget) -> Target:
        return make_target(sandbox.url, **by_key(sandbox))

    @pytest.fixture
    def unauthorized_target(self, sandbox: SandboxServer, make_target: MakeTarget) -> Target:
        return make_target(
            sandbox.url, access_key=sandbox.access_key, secret_key="wrong-secret-word"
        )


class TestWithAToken(TargetSuite):
    @pytest.fixture
    def target(self, sandbox: SandboxServer, make_target: MakeTarget) -> Target:
        return make_target(sandbox.url, **by_token(sandbox))

    @pytest.fixture
    def unauthorized_target(self, sandbox: SandboxServer, make_target: MakeTarget) -> Target:
        wrong = {**by_token(sandbox), "iam_password": "wrong-secret-word"}
        return make_target(sandbox.url, **wrong)


@pytest.fixture
def target(sandbox: SandboxServer, make_target: MakeTarget) -> Target:
    return make_target(sandbox.url, **by_key(sandbox), **by_token(sandbox))


def operations(sandbox: SandboxServer) -> list[str]:
    return [call.operation for call in sandbox.calls]


# Creating


def test_the_result_has_the_useful_response_fields(target: Target) -> None:
    archive = export()
    result = target.create(HELLO, archive, ChangeRecorder(), ignore)
    assert ":function:default:hello" in result.urn
    assert set(result.answer) == {
        "func_urn",
        "runtime",
        "version",
        "digest",
        "code_size",
        "last_modified",
        "request_id",
        "answer",
        "warnings",
    }
    assert result.answer["digest"] == archive.code_digest()
    assert result.answer["answer"]["digest"] == archive.code_digest()
    assert result.answer["warnings"] == []


def test_queries_and_imports_share_a_connection(
    target: Target, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new connection costs a TLS handshake."""
    opened = []
    connect = HTTPConnection.connect
    monkeypatch.setattr(HTTPConnection, "connect", lambda self: opened.append(1) or connect(self))
    assert target.held(HELLO) is None
    target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert target.held(HELLO)
    assert (len(opened), len(sandbox.calls)) == (1, 4)


def test_a_large_body_is_sent_with_the_exact_length(target: Target, sandbox: SandboxServer) -> None:
    archive = export(size=20_000_000)
    target.create(HELLO, archive, ChangeRecorder(), ignore)
    (call,) = sandbox.imports
    fields = {"func_name": "hello", "package": "default", "file_name": "hello.zip"}
    frame = json.dumps({**fields, "file_type": "zip", "file_code": ""})
    assert call.received == len(frame) + (archive.size + 2) // 3 * 4


def test_the_file_name_is_that_of_the_object(
    make_target: MakeTarget, fake_server: FakeServer
) -> None:
    archive = export()
    archive.file_name = "hello1a130e01645afe006c51565b1909b0d4.zip"
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    with pytest.raises(OutcomeUnknown):
        target.create(HELLO, archive, ChangeRecorder(), ignore)
    assert json.loads(fake_server.requests[0].data)["file_name"] == archive.file_name


@pytest.mark.parametrize(
    ("cut_after", "status", "code"),
    [(100_000, 413, "FSS.0413"), (100_000, 403, "APIGW.0302"), (0, 409, "FSS.1061")],
)
def test_a_response_that_arrives_during_the_upload_is_read(
    target: Target, sandbox: SandboxServer, cut_after: int, status: int, code: str
) -> None:
    sandbox.fault(operation="import", cut_after=cut_after, status=status, code=code)
    archive, sent = export(size=60_000_000), list[int]()
    with pytest.raises(PermanentFailure) as refused:
        target.create(HELLO, archive, ChangeRecorder(), sent.append)
    assert f"{status} {code}" in (refused.value.answer or "")
    assert sum(sent) < archive.size / 2


def test_a_reset_before_the_last_byte_has_a_known_outcome(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.fault(operation="import", cut_after=5_000_000)
    with pytest.raises(TemporaryFailure) as cut:
        target.create(HELLO, export(size=60_000_000), ChangeRecorder(), ignore)
    assert not isinstance(cut.value, OutcomeUnknown)
    assert sandbox.imports == []


def test_a_response_that_times_out_has_an_unknown_outcome(
    make_target: MakeTarget, sandbox: SandboxServer
) -> None:
    impatient = make_target(sandbox.url, read_timeout=0.3, **by_key(sandbox))
    sandbox.fault(operation="import", delay=2)
    archive = export()
    with pytest.raises(OutcomeUnknown):
        impatient.create(HELLO, archive, ChangeRecorder(), ignore)
    held = impatient.held(HELLO)
    assert held is not None
    assert held.digest == archive.code_digest()


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_a_failure_behind_the_gateway_has_an_unknown_outcome(
    target: Target, sandbox: SandboxServer, status: int
) -> None:
    sandbox.fault(operation="import", status=status, commit=True)
    with pytest.raises(OutcomeUnknown):
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert target.held(HELLO) is not None


def test_an_exception_from_progress_propagates_and_nothing_is_imported(
    target: Target, sandbox: SandboxServer
) -> None:
    class Stop(BaseException):
        pass

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        target.create(HELLO, export(size=3_000_000), ChangeRecorder(), stop)
    assert target.held(HELLO) is None
    assert sandbox.imports == []


def test_a_name_taken_in_another_package_is_found(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", package="other", code=b"print()")
    with pytest.raises(NameTaken):
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    held = target.held(HELLO)
    assert held is not None
    assert held.package == "other"
    assert held.digest == hashlib.sha512(b"print()").hexdigest()


def test_a_success_without_a_urn_has_an_unknown_outcome(
    fake_server: FakeServer, make_target: MakeTarget
) -> None:
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    fake_server.body = {"hello": "from a proxy"}
    with pytest.raises(OutcomeUnknown):
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    fake_server.body = "<html>captive portal</html>"
    with pytest.raises(OutcomeUnknown):
        target.create(HELLO, export(), ChangeRecorder(), ignore)


# Queries


def test_a_404_of_a_wrong_endpoint_is_an_error(
    fake_server: FakeServer, make_target: MakeTarget
) -> None:
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    fake_server.status = 404
    fake_server.body = {"error_code": "APIG.0101", "error_msg": "The API does not exist"}
    with pytest.raises(PermanentFailure) as failed:
        target.held(HELLO)
    assert "endpoint" in failed.value.hint.en
    fake_server.body = "<html>404</html>"
    with pytest.raises(PermanentFailure):
        target.held(HELLO)


def test_a_name_is_searched_on_every_page(
    monkeypatch: pytest.MonkeyPatch, target: Target, sandbox: SandboxServer
) -> None:
    monkeypatch.setattr("relay.targets.functiongraph.client.PAGE_SIZE", 2)
    for name in ("a", "b", "c", "d", "hello"):
        sandbox.hold(name, package="other", code=b"x")
    found = target.held(HELLO)
    assert found is not None
    assert found.package == "other"
    assert operations(sandbox) == ["config", "list"]
    assert target.held(FunctionName("missing", "default")) is None


def test_a_failed_query_is_temporary_with_a_known_outcome(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.fault(operation="config", status=500)
    with pytest.raises(TemporaryFailure) as failed:
        target.held(HELLO)
    assert not isinstance(failed.value, OutcomeUnknown)


# Checks before any request


@pytest.mark.parametrize(
    "name", ["a", "A1", "a" * 60, "under_score", "with-dash", "a-1"], ids=lambda name: name[:12]
)
def test_a_name_within_the_rules_is_accepted(target: Target, name: str) -> None:
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


def test_an_archive_over_the_limit_is_refused(
    make_target: MakeTarget, sandbox: SandboxServer
) -> None:
    target = make_target(sandbox.url, max_size="1MiB", **by_token(sandbox))
    report = replace(export().report, size=2**20)
    target.check(HELLO, report)
    with pytest.raises(PermanentFailure) as refused:
        target.check(HELLO, replace(report, size=2**20 + 1))
    assert refused.value.code == "functiongraph.too_large"
    assert refused.value.message.en == "The archive has 1,048,577 bytes; the limit is 1,048,576"
    assert "targets.prod.max_size" in refused.value.hint.en


def test_ready_describes_the_accepted_credentials_and_the_quota(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.hold("one", code=b"x")
    assert target.ready() == (
        "project 0123456789abcdef0123456789abcdef: access key from relay.toml accepted,"
        " token for iam_user from relay.toml accepted;"
        " 1 of 400 functions used"
    )
