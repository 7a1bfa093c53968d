"""Who we are: the way that fits, what happens when a token ends, what is said when none fits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from relay.errors import Busy, PermanentFailure, TemporaryFailure
from relay.model import utc_now
from relay.sandbox.functiongraph import SandboxServer
from relay.target import Order
from relay.targets.functiongraph import Target
from relay.testing.target import export, ignore
from tests.targets.conftest import PROJECT, Clock, MakeTarget, Scripted, by_key, by_token

ORDER = Order("hello", "default")
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
    target.create(Order("small", "default"), export(), ignore)
    assert asked_for_tokens(sandbox) == 0
    target.create(Order("big", "default"), export(size=BIG), ignore)
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
    assert target.held(Order(name, "default")) is None
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
    with pytest.raises(Busy) as busy:
        target.ready()
    assert busy.value.retry_after == timedelta(seconds=9)
    target.ready()


def test_an_iam_that_gives_no_token_is_said(scripted: Scripted, make: MakeTarget) -> None:
    scripted.status = 201
    target = make(scripted.url, iam_user="u", iam_password="p", iam_domain="d")
    with pytest.raises(TemporaryFailure) as failed:
        target.ready()
    assert failed.value.code == "functiongraph.iam.201"


# Clocks


@pytest.fixture
def ahead(make: MakeTarget) -> Iterator[Target]:
    with SandboxServer(project_id=PROJECT, clock=utc_now) as sandbox:
        yield make(sandbox.url, **by_key(sandbox))


def test_a_clock_that_is_off_is_said(ahead: Target, clock: Clock) -> None:
    clock.now = utc_now() + timedelta(minutes=40)
    with pytest.raises(PermanentFailure) as refused:
        ahead.ready()
    assert refused.value.hint.en.startswith("This machine's clock is 40 minutes off")
    assert "40" in refused.value.hint.zh
    clock.now = utc_now() + timedelta(minutes=14)
    ahead.ready()
