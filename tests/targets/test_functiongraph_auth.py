"""Who we are: the way that fits, what happens when a token ends, what is said when none fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import utc_now
from relay.targets.contract import FunctionName
from relay.targets.functiongraph.target import Target
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.state import RecordedCall
from relay.testing.target_suite import export, ignore
from tests.targets.conftest import PROJECT, Clock, MakeTarget, Scripted, by_key, by_token

ORDER = FunctionName("hello", "default")
BIG = 10_000_000


@pytest.fixture
def target(sandbox: SandboxServer, make: MakeTarget) -> Target:
    return make(sandbox.url, **by_token(sandbox))


def asked_for_tokens(sandbox: SandboxServer) -> int:
    return sum(call.operation == "token" for call in sandbox.calls)


# Which way


def test_a_small_request_is_signed_and_a_big_one_carries_a_token(
    sandbox: SandboxServer, make: MakeTarget
) -> None:
    target = make(sandbox.url, **by_key(sandbox), **by_token(sandbox))
    target.create(FunctionName("small", "default"), export(), ignore)
    assert asked_for_tokens(sandbox) == 0
    target.create(FunctionName("big", "default"), export(size=BIG), ignore)
    assert asked_for_tokens(sandbox) == 1
    assert set(sandbox.functions) == {"small", "big"}


@pytest.mark.parametrize(("auth", "tokens"), [("aksk", 0), ("token", 1)])
def test_the_way_that_was_asked_for_is_taken(
    sandbox: SandboxServer, make: MakeTarget, auth: str, tokens: int
) -> None:
    target = make(sandbox.url, auth=auth, **by_key(sandbox), **by_token(sandbox))
    target.create(ORDER, export(), ignore)
    assert asked_for_tokens(sandbox) == tokens


def test_an_access_key_alone_refuses_a_big_archive_before_anything_is_sent(
    sandbox: SandboxServer, make: MakeTarget
) -> None:
    target = make(sandbox.url, **by_key(sandbox))
    archive = export(size=BIG)
    for refuse in (
        lambda: target.check(ORDER, archive.report),
        lambda: target.create(ORDER, archive, ignore),
    ):
        with pytest.raises(PermanentFailure) as refused:
            refuse()
        assert refused.value.code == "functiongraph.needs_token"
        for text in refused.value.hint:
            assert "iam_user" in text
    assert sandbox.calls == []


def test_a_gateway_that_takes_less_than_expected_gets_a_token(
    make: MakeTarget, clock: Clock
) -> None:
    with SandboxServer(project_id=PROJECT, gateway_limit=500, clock=clock) as sandbox:
        make(sandbox.url, **by_key(sandbox), **by_token(sandbox)).create(ORDER, export(), ignore)
        assert [call.status for call in sandbox.calls] == [413, 201, 200]
        with pytest.raises(PermanentFailure) as refused:
            make(sandbox.url, **by_key(sandbox)).create(ORDER, export(), ignore)
    assert "iam_user" in refused.value.hint.en


def test_temporary_access_keys_are_accepted(make: MakeTarget, clock: Clock) -> None:
    with SandboxServer(project_id=PROJECT, security_token="ticket", clock=clock) as sandbox:
        make(sandbox.url, security_token="ticket", **by_key(sandbox)).ready()
        with pytest.raises(PermanentFailure):
            make(sandbox.url, security_token="other", **by_key(sandbox)).ready()


@pytest.mark.parametrize("name", ["a~b", "名字 x", "100%25", "+", "é"])
def test_a_name_of_any_letters_is_signed_as_it_is_sent(
    sandbox: SandboxServer, make: MakeTarget, name: str
) -> None:
    target = make(sandbox.url, **by_key(sandbox))
    assert target.held(FunctionName(name, "default")) is None
    assert [(call.operation, call.status) for call in sandbox.calls] == [
        ("config", 404),
        ("list", 200),
    ]


# Tokens


def test_a_token_is_fetched_once_and_kept(sandbox: SandboxServer, target: Target) -> None:
    for _ in range(3):
        target.ready()
    assert asked_for_tokens(sandbox) == 1


def test_a_token_is_renewed_before_it_ends(
    sandbox: SandboxServer, target: Target, clock: Clock
) -> None:
    target.ready()
    clock.forward(hours=23, minutes=29)
    target.ready()
    assert asked_for_tokens(sandbox) == 1
    clock.forward(minutes=2)
    target.ready()
    assert asked_for_tokens(sandbox) == 2


def test_a_token_that_ended_early_is_renewed_within_the_attempt(
    sandbox: SandboxServer, target: Target
) -> None:
    target.ready()
    sandbox.expire_tokens()
    archive, told = export(size=5_000_000), list[int]()
    target.create(ORDER, archive, told.append)
    assert asked_for_tokens(sandbox) == 2
    assert sandbox.functions["hello"].digest == archive.code_digest()


def test_a_new_token_is_tried_once_only(sandbox: SandboxServer, target: Target) -> None:
    sandbox.fault(operation="import", status=401, code="FSS.0401", times=None)
    with pytest.raises(PermanentFailure):
        target.create(ORDER, export(), ignore)
    assert asked_for_tokens(sandbox) == 2


def test_many_threads_renew_a_token_once(sandbox: SandboxServer, target: Target) -> None:
    target.ready()
    sandbox.expire_tokens()
    sandbox.fault(operation="token", delay=0.2)
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: target.ready(), range(8)))
    assert len(seen) == 8
    assert asked_for_tokens(sandbox) == 2


def test_a_wrong_password_says_what_to_check_and_is_not_tried_over_and_over(
    sandbox: SandboxServer, make: MakeTarget, clock: Clock
) -> None:
    target = make(sandbox.url, **{**by_token(sandbox), "iam_password": "not-the-password"})
    for _ in range(5):
        with pytest.raises(PermanentFailure) as refused:
            target.held(ORDER)
        assert refused.value.code == "functiongraph.iam.401"
        assert "iam_password" in refused.value.hint.en
        assert "iam_password" in refused.value.hint.zh
        assert "not-the-password" not in str(refused.value)
    assert asked_for_tokens(sandbox) == 1
    clock.forward(minutes=2)
    with pytest.raises(PermanentFailure):
        target.held(ORDER)
    assert asked_for_tokens(sandbox) == 2


def test_trouble_of_iam_is_temporary(sandbox: SandboxServer, target: Target) -> None:
    sandbox.fault(operation="token", status=503)
    with pytest.raises(TemporaryFailure):
        target.ready()
    sandbox.fault(operation="token", status=429, retry_after=9)
    with pytest.raises(Throttled) as busy:
        target.ready()
    assert busy.value.retry_after == timedelta(seconds=9)
    target.ready()


def test_an_iam_that_gives_no_token_is_said(scripted: Scripted, make: MakeTarget) -> None:
    scripted.status = 201
    target = make(scripted.url, iam_user="u", iam_password="p", iam_domain="d")
    with pytest.raises(TemporaryFailure) as failed:
        target.ready()
    assert failed.value.code == "functiongraph.iam.201"


# The end in the middle of an import


WAYS: dict[str, tuple[Callable[[SandboxServer], dict[str, str]], int]] = {
    "token": (lambda cloud: {"auth": "token", **by_token(cloud)}, 2_000_000),
    "auto, big": (lambda cloud: {**by_token(cloud), **by_key(cloud)}, BIG),
    "auto, by the server's agency": (lambda cloud: {}, 2_000_000),
    "aksk, by the server's agency": (lambda cloud: {"auth": "aksk"}, 2_000_000),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", [0, 1_000_000])
def test_what_ends_while_an_import_is_on_the_way_is_renewed_and_it_is_sent_again(
    way: str, after: int, make: MakeTarget, clock: Clock
) -> None:
    given, size = WAYS[way]
    code = "APIGW.0301" if "agency" in way else "APIGW.0307"

    def end() -> None:
        cloud.expire_tokens()
        cloud.end_agency_keys()

    def over(call: RecordedCall) -> None:
        if call.operation == "import" and call.status == 401 and after:
            end()

    day = timedelta(days=1)
    with SandboxServer(project_id=PROJECT, agency_life=day, clock=clock, on_call=over) as cloud:
        target = make(cloud.url, **given(cloud))
        target.ready()
        if after:
            # As a gateway that looks again while the body comes in.
            cloud.fault(operation="import", status=401, code=code, cut_after=after)
        else:
            end()
        archive = export(size=size)
        landed = target.create(ORDER, archive, ignore)
        assert landed.answer["digest"] == archive.code_digest()
        imports = [call.status for call in cloud.calls if call.operation == "import"]
        assert imports == [401, 200]
        assert len(cloud.imports) == 1


def test_what_ends_after_an_import_was_let_in_does_not_hurt_it(
    sandbox: SandboxServer, target: Target
) -> None:
    told = iter(range(1000))

    def end(_: int) -> None:
        if next(told) == 0:
            sandbox.expire_tokens()

    target.create(ORDER, export(size=5_000_000), end)
    assert target.held(ORDER)
    assert asked_for_tokens(sandbox) == 2


def test_a_key_of_relay_toml_that_is_refused_is_not_tried_again(
    sandbox: SandboxServer, make: MakeTarget
) -> None:
    sandbox.fault(operation="import", status=401, code="APIGW.0301", times=None)
    with pytest.raises(PermanentFailure) as refused:
        make(sandbox.url, **by_key(sandbox)).create(ORDER, export(), ignore)
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
    """A sandbox whose clock is right."""
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
def test_a_clock_that_is_off_is_said(
    key: str, minutes: int, en: str, zh: str, cloud: SandboxServer, make: MakeTarget, clock: Clock
) -> None:
    target = make(cloud.url, **KEYS[key](cloud))
    clock.now = utc_now() + timedelta(minutes=minutes)
    for refuse in (target.ready, lambda: target.create(ORDER, export(), ignore)):
        with pytest.raises(PermanentFailure) as refused:
            refuse()
        assert refused.value.code == "functiongraph.apigw.0301"
        assert refused.value.hint.en.startswith(f"This machine's clock is {en}")
        assert zh in refused.value.hint.zh
    clock.now = utc_now() + timedelta(minutes=14 if minutes > 0 else -14)
    target.ready()


@pytest.mark.parametrize("hours", [-30, -2, 2, 30])
def test_a_token_does_not_mind_a_clock_that_is_off(
    hours: int, cloud: SandboxServer, make: MakeTarget, clock: Clock
) -> None:
    target = make(cloud.url, **by_token(cloud))
    clock.now = utc_now() + timedelta(hours=hours)
    target.create(ORDER, export(), ignore)
    target.ready()
    assert asked_for_tokens(cloud) == 1
