"""Authentication: choice between key and token, renewal, and errors for unusable credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import utc_now
from relay.targets.contract import FunctionName
from relay.targets.functiongraph.target import Target
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.state import RecordedCall
from relay.testing.target_suite import export, ignore
from tests.targets.functiongraph.conftest import (
    PROJECT,
    Clock,
    FakeServer,
    MakeTarget,
    by_key,
    by_token,
)

HELLO = FunctionName("hello", "default")
BIG = 10_000_000


@pytest.fixture
def target(sandbox: SandboxServer, make_target: MakeTarget) -> Target:
    return make_target(sandbox.url, **by_token(sandbox))


def token_requests(sandbox: SandboxServer) -> int:
    return sum(call.operation == "token" for call in sandbox.calls)


# Choice of credentials


def test_a_small_request_is_signed_and_a_large_one_uses_a_token(
    sandbox: SandboxServer, make_target: MakeTarget
) -> None:
    target = make_target(sandbox.url, **by_key(sandbox), **by_token(sandbox))
    target.create(FunctionName("small", "default"), export(), ChangeRecorder(), ignore)
    assert token_requests(sandbox) == 0
    target.create(FunctionName("big", "default"), export(size=BIG), ChangeRecorder(), ignore)
    assert token_requests(sandbox) == 1
    assert set(sandbox.functions) == {"small", "big"}


@pytest.mark.parametrize(("auth", "tokens"), [("aksk", 0), ("token", 1)])
def test_the_configured_auth_is_used(
    sandbox: SandboxServer, make_target: MakeTarget, auth: str, tokens: int
) -> None:
    target = make_target(sandbox.url, auth=auth, **by_key(sandbox), **by_token(sandbox))
    target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert token_requests(sandbox) == tokens


def test_a_large_archive_without_a_token_is_refused_before_any_request(
    sandbox: SandboxServer, make_target: MakeTarget
) -> None:
    target = make_target(sandbox.url, **by_key(sandbox))
    archive = export(size=BIG)
    for call in (
        lambda: target.check(HELLO, archive.report),
        lambda: target.create(HELLO, archive, ChangeRecorder(), ignore),
    ):
        with pytest.raises(PermanentFailure) as refused:
            call()
        assert refused.value.code == "functiongraph.needs_token"
        for text in refused.value.hint:
            assert "iam_user" in text
    assert sandbox.calls == []


def test_a_token_is_used_if_the_gateway_rejects_the_signed_size(
    make_target: MakeTarget, clock: Clock
) -> None:
    with SandboxServer(project_id=PROJECT, gateway_limit=500, clock=clock) as sandbox:
        make_target(sandbox.url, **by_key(sandbox), **by_token(sandbox)).create(
            HELLO, export(), ChangeRecorder(), ignore
        )
        assert [call.status for call in sandbox.calls] == [413, 201, 200]
        with pytest.raises(PermanentFailure) as refused:
            make_target(sandbox.url, **by_key(sandbox)).create(
                HELLO, export(), ChangeRecorder(), ignore
            )
    assert "iam_user" in refused.value.hint.en


def test_temporary_access_keys_are_accepted(make_target: MakeTarget, clock: Clock) -> None:
    with SandboxServer(project_id=PROJECT, security_token="ticket", clock=clock) as sandbox:
        make_target(sandbox.url, security_token="ticket", **by_key(sandbox)).ready()
        with pytest.raises(PermanentFailure):
            make_target(sandbox.url, security_token="other", **by_key(sandbox)).ready()


@pytest.mark.parametrize("name", ["a~b", "名字 x", "100%25", "+", "é"])
def test_special_characters_in_a_name_are_signed_as_sent(
    sandbox: SandboxServer, make_target: MakeTarget, name: str
) -> None:
    target = make_target(sandbox.url, **by_key(sandbox))
    assert target.held(FunctionName(name, "default")) is None
    assert [(call.operation, call.status) for call in sandbox.calls] == [
        ("config", 404),
        ("list", 200),
    ]


# Tokens


def test_a_token_is_fetched_once_and_cached(sandbox: SandboxServer, target: Target) -> None:
    for _ in range(3):
        target.ready()
    assert token_requests(sandbox) == 1


def test_a_token_is_renewed_before_it_expires(
    sandbox: SandboxServer, target: Target, clock: Clock
) -> None:
    target.ready()
    clock.advance(hours=23, minutes=29)
    target.ready()
    assert token_requests(sandbox) == 1
    clock.advance(minutes=2)
    target.ready()
    assert token_requests(sandbox) == 2


def test_a_token_that_expired_early_is_renewed_within_the_attempt(
    sandbox: SandboxServer, target: Target
) -> None:
    target.ready()
    sandbox.expire_tokens()
    archive = export(size=5_000_000)
    target.create(HELLO, archive, ChangeRecorder(), ignore)
    assert token_requests(sandbox) == 2
    assert sandbox.functions["hello"].digest == archive.code_digest()


def test_a_new_token_is_tried_only_once(sandbox: SandboxServer, target: Target) -> None:
    sandbox.fault(operation="import", status=401, code="FSS.0401", times=None)
    with pytest.raises(PermanentFailure):
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert token_requests(sandbox) == 2


def test_many_threads_renew_a_token_once(sandbox: SandboxServer, target: Target) -> None:
    target.ready()
    sandbox.expire_tokens()
    sandbox.fault(operation="token", delay=0.2)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: target.ready(), range(8)))
    assert len(results) == 8
    assert token_requests(sandbox) == 2


def test_a_wrong_password_has_a_hint_and_is_not_retried_for_a_minute(
    sandbox: SandboxServer, make_target: MakeTarget, clock: Clock
) -> None:
    target = make_target(sandbox.url, **{**by_token(sandbox), "iam_password": "not-the-password"})
    for _ in range(5):
        with pytest.raises(PermanentFailure) as refused:
            target.held(HELLO)
        assert refused.value.code == "functiongraph.iam.401"
        assert "iam_password" in refused.value.hint.en
        assert "iam_password" in refused.value.hint.zh
        assert "not-the-password" not in str(refused.value)
    assert token_requests(sandbox) == 1
    clock.advance(minutes=2)
    with pytest.raises(PermanentFailure):
        target.held(HELLO)
    assert token_requests(sandbox) == 2


def test_a_failure_of_iam_is_temporary(sandbox: SandboxServer, target: Target) -> None:
    sandbox.fault(operation="token", status=503)
    with pytest.raises(TemporaryFailure):
        target.ready()
    sandbox.fault(operation="token", status=429, retry_after=9)
    with pytest.raises(Throttled) as busy:
        target.ready()
    assert busy.value.retry_after == timedelta(seconds=9)
    target.ready()


def test_a_response_of_iam_without_a_token_is_an_error(
    fake_server: FakeServer, make_target: MakeTarget
) -> None:
    fake_server.status = 201
    target = make_target(fake_server.url, iam_user="u", iam_password="p", iam_domain="d")
    with pytest.raises(TemporaryFailure) as failed:
        target.ready()
    assert failed.value.code == "functiongraph.iam.201"


@pytest.mark.parametrize("code", ["APIG.0301", "APIGW.0301"])
@pytest.mark.parametrize(
    "words",
    ["token expires", "decrypt token fail", "Incorrect IAM authentication information: {}"],
)
@pytest.mark.parametrize("operation", ["import", "config"])
def test_a_dead_token_is_renewed_once(
    sandbox: SandboxServer, target: Target, code: str, words: str, operation: str
) -> None:
    message = words.format("decrypt token fail")
    sandbox.fault(operation=operation, status=401, code=code, message=message)
    target.held(HELLO)
    target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert token_requests(sandbox) == 2
    sandbox.fault(operation="config", status=401, code=code, message=message, times=None)
    with pytest.raises(PermanentFailure) as refused:
        target.held(HELLO)
    assert token_requests(sandbox) == 3
    assert "new token was also rejected" in refused.value.hint.en


# Locked keys and accounts


LOCKS = {
    "AK access failed to reach the limit,forbidden.": 5,
    "Incorrect IAM authentication information: AK access failed to reach the limit, forbidden,"
    " try again 5 minutes later": 5,
    "The key is locked, please try again in 7 minutes": 7,
    "Too many failures: retry again after 12 min": 12,
    "连续失败次数过多，请 8 分钟后再试": 8,
    "The account is locked": 5,
    "locked for 9999 minutes": 24 * 60,
}


@pytest.mark.parametrize("words", LOCKS)
def test_a_locked_key_waits_as_long_as_it_is_locked(
    sandbox: SandboxServer, make_target: MakeTarget, words: str
) -> None:
    target = make_target(sandbox.url, **by_key(sandbox))
    sandbox.fault(operation="import", status=401, code="APIG.0301", message=words, times=None)
    with pytest.raises(Throttled) as locked:
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert locked.value.retry_after == timedelta(minutes=LOCKS[words])
    assert locked.value.hint.en.startswith("Huawei Cloud locks a key")
    assert [call.operation for call in sandbox.calls] == ["import"]


def test_a_locked_key_of_the_servers_agency_is_not_tried_again(
    make_target: MakeTarget, clock: Clock
) -> None:
    words = "AK access failed to reach the limit,forbidden."
    with SandboxServer(project_id=PROJECT, agency_life=timedelta(days=1), clock=clock) as cloud:
        target = make_target(cloud.url)
        cloud.fault(operation="import", status=401, code="APIGW.0301", message=words)
        with pytest.raises(Throttled):
            target.create(HELLO, export(), ChangeRecorder(), ignore)
        assert [call.operation for call in cloud.calls].count("import") == 1


@pytest.mark.parametrize(
    ("status", "words", "minutes"),
    [(401, "The account is locked", 5), (403, "User locked, try again in 15 minutes", 15)],
)
def test_a_locked_account_waits(
    sandbox: SandboxServer, target: Target, status: int, words: str, minutes: int
) -> None:
    sandbox.fault(operation="token", status=status, message=words)
    with pytest.raises(Throttled) as locked:
        target.ready()
    assert locked.value.retry_after == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "words",
    [
        "verify aksk signature fail, the time differs by more than 15 minutes",
        "Get secretKey failed,ak:AKEXAMPLE,err:ak not exist",
        "verify aksk signature fail",
    ],
)
def test_a_wrong_signature_is_final(
    sandbox: SandboxServer, make_target: MakeTarget, words: str
) -> None:
    target = make_target(sandbox.url, **by_key(sandbox))
    sandbox.fault(operation="import", status=401, code="APIG.0301", message=words, times=None)
    with pytest.raises(PermanentFailure) as refused:
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert "access_key" in refused.value.hint.en
    assert len(sandbox.calls) == 1


# Expiry during an import


CREDENTIALS: dict[str, tuple[Callable[[SandboxServer], dict[str, str]], int]] = {
    "token": (lambda cloud: {"auth": "token", **by_token(cloud)}, 2_000_000),
    "auto, big": (lambda cloud: {**by_token(cloud), **by_key(cloud)}, BIG),
    "auto, by the server's agency": (lambda cloud: {}, 2_000_000),
    "aksk, by the server's agency": (lambda cloud: {"auth": "aksk"}, 2_000_000),
}


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("after", [0, 1_000_000])
def test_credentials_that_expire_during_an_import_are_renewed_and_it_is_sent_again(
    credentials: str, after: int, make_target: MakeTarget, clock: Clock
) -> None:
    settings, size = CREDENTIALS[credentials]
    code = "APIGW.0301" if "agency" in credentials else "APIGW.0307"

    def expire() -> None:
        cloud.expire_tokens()
        cloud.expire_agency_keys()

    def expire_again(call: RecordedCall) -> None:
        if call.operation == "import" and call.status == 401 and after:
            expire()

    day = timedelta(days=1)
    with SandboxServer(
        project_id=PROJECT, agency_life=day, clock=clock, on_call=expire_again
    ) as cloud:
        target = make_target(cloud.url, **settings(cloud))
        target.ready()
        if after:
            # Like a gateway that checks the credentials again while it receives the body.
            cloud.fault(operation="import", status=401, code=code, cut_after=after)
        else:
            expire()
        archive = export(size=size)
        landed = target.create(HELLO, archive, ChangeRecorder(), ignore)
        assert landed.answer["digest"] == archive.code_digest()
        imports = [call.status for call in cloud.calls if call.operation == "import"]
        assert imports == [401, 200]
        assert len(cloud.imports) == 1


def test_a_token_that_expires_after_the_import_was_admitted_does_no_harm(
    sandbox: SandboxServer, target: Target
) -> None:
    calls = iter(range(1000))

    def expire_once(_: int) -> None:
        if next(calls) == 0:
            sandbox.expire_tokens()

    target.create(HELLO, export(size=5_000_000), ChangeRecorder(), expire_once)
    assert target.held(HELLO)
    assert token_requests(sandbox) == 2


def test_a_rejected_key_from_relay_toml_is_not_tried_again(
    sandbox: SandboxServer, make_target: MakeTarget
) -> None:
    sandbox.fault(operation="import", status=401, code="APIGW.0301", times=None)
    with pytest.raises(PermanentFailure) as refused:
        make_target(sandbox.url, **by_key(sandbox)).create(
            HELLO, export(), ChangeRecorder(), ignore
        )
    assert [call.operation for call in sandbox.calls] == ["import"]
    assert "access_key" in refused.value.hint.en


# Clocks


KEYS: dict[str, Callable[[SandboxServer], dict[str, str]]] = {
    "relay.toml": by_key,
    "the server's agency": lambda cloud: {},
    "both": lambda cloud: {**by_key(cloud), **by_token(cloud)},
}


@pytest.fixture
def cloud() -> Iterator[SandboxServer]:
    """A sandbox with the correct time."""
    with SandboxServer(project_id=PROJECT, agency_life=timedelta(days=1)) as server:
        yield server


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("minutes", "en", "zh"),
    [
        (40, "40 minutes ahead of the server's", "快 40 分钟"),
        (-20, "20 minutes behind", "慢 20 分钟"),
    ],
)
def test_a_wrong_local_clock_is_reported(
    key: str,
    minutes: int,
    en: str,
    zh: str,
    cloud: SandboxServer,
    make_target: MakeTarget,
    clock: Clock,
) -> None:
    target = make_target(cloud.url, **KEYS[key](cloud))
    clock.now = utc_now() + timedelta(minutes=minutes)
    for call in (target.ready, lambda: target.create(HELLO, export(), ChangeRecorder(), ignore)):
        with pytest.raises(PermanentFailure) as refused:
            call()
        assert refused.value.code == "functiongraph.apigw.0301"
        assert refused.value.hint.en.startswith(f"This machine's clock is {en}")
        assert zh in refused.value.hint.zh
    clock.now = utc_now() + timedelta(minutes=14 if minutes > 0 else -14)
    target.ready()


@pytest.mark.parametrize("hours", [-30, -2, 2, 30])
def test_a_token_works_with_a_wrong_local_clock(
    hours: int, cloud: SandboxServer, make_target: MakeTarget, clock: Clock
) -> None:
    target = make_target(cloud.url, **by_token(cloud))
    clock.now = utc_now() + timedelta(hours=hours)
    target.create(HELLO, export(), ChangeRecorder(), ignore)
    target.ready()
    assert token_requests(cloud) == 1
