"""Where an access key comes from: relay.toml, the environment, the SDK's file, the server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.targets.contract import FunctionName
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.target_suite import export, ignore
from tests.targets.conftest import PROJECT, Clock, MakeTarget, Scripted, by_key, by_token

ORDER = FunctionName("hello", "default")
OTHER = "another-secret-word"
ASKED = ["metadata_token", "metadata_key"]

Put = Callable[..., None]


@pytest.fixture
def cloud(clock: Clock) -> Iterator[SandboxServer]:
    """A sandbox whose metadata service gives keys that live for a day."""
    day = timedelta(days=1)
    with SandboxServer(project_id=PROJECT, agency_life=day, clock=clock) as server:
        yield server


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Put:
    """put("environment", ak, sk) or put("file", ak, sk, more lines)."""

    def put(place: str, ak: str, sk: str, more: str = "") -> None:
        if place == "file":
            path = tmp_path / ".huaweicloud" / "credentials"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"[basic]\nak = {ak}\nsk = {sk}\n{more}")
            return
        prefix = {"environment": "HUAWEICLOUD_SDK", "samples": "CLOUD_SDK"}[place]
        monkeypatch.setenv(f"{prefix}_AK", ak)
        monkeypatch.setenv(f"{prefix}_SK", sk)

    return put


def asked(sandbox: SandboxServer, *operations: str) -> int:
    return sum(call.operation in operations for call in sandbox.calls)


def unreachable() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


# Places


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("environment", "the environment (HUAWEICLOUD_SDK_AK)"),
        ("samples", "the environment (CLOUD_SDK_AK)"),
        ("file", "the credentials file {home}/.huaweicloud/credentials"),
    ],
)
def test_a_key_is_found_where_the_sdk_looks(
    place: str, source: str, put: Put, make: MakeTarget, sandbox: SandboxServer, tmp_path: Path
) -> None:
    put(place, sandbox.access_key, sandbox.secret_key)
    seen = make(sandbox.url).ready()
    assert f"access key from {source.format(home=tmp_path)} accepted" in seen
    assert sandbox.secret_key not in seen
    assert sandbox.access_key not in seen


def test_the_places_are_looked_at_in_order(
    put: Put, make: MakeTarget, cloud: SandboxServer
) -> None:
    for own, place in (
        (by_key(cloud), "relay.toml"),
        ({}, "HUAWEICLOUD_SDK_AK"),
    ):
        put("environment", cloud.access_key, cloud.secret_key if not own else OTHER)
        put("samples", "x", OTHER)
        put("file", "y", OTHER)
        assert place in make(cloud.url, **own).ready()
    assert asked(cloud, *ASKED) == 0


def test_an_iam_user_in_relay_toml_keeps_keys_from_elsewhere_out(
    put: Put, make: MakeTarget, cloud: SandboxServer
) -> None:
    put("environment", "x", OTHER)
    assert "access key" not in make(cloud.url, **by_token(cloud)).ready()
    assert asked(cloud, *ASKED) == 0


def test_half_a_key_is_none(
    monkeypatch: pytest.MonkeyPatch, put: Put, make: MakeTarget, sandbox: SandboxServer
) -> None:
    monkeypatch.setenv("HUAWEICLOUD_SDK_AK", "half")
    put("file", sandbox.access_key, sandbox.secret_key)
    assert "credentials file" in make(sandbox.url).ready()


def test_the_file_may_be_elsewhere_and_hold_any_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: MakeTarget, clock: Clock
) -> None:
    odd = "%(odd)s%;#="
    monkeypatch.setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", str(tmp_path / "keys.ini"))
    with SandboxServer(
        project_id=PROJECT, secret_key=odd, security_token="ticket", clock=clock
    ) as sandbox:
        (tmp_path / "keys.ini").write_text(
            f"[global]\nak = x\n[basic]\nak = {sandbox.access_key}\nsk = {odd}\n"
            "security_token = ticket\n"
        )
        assert "keys.ini accepted" in make(sandbox.url).ready()


def test_a_temporary_key_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, put: Put, make: MakeTarget, clock: Clock
) -> None:
    with SandboxServer(project_id=PROJECT, security_token="ticket", clock=clock) as sandbox:
        put("environment", sandbox.access_key, sandbox.secret_key)
        with pytest.raises(PermanentFailure):
            make(sandbox.url).ready()
        monkeypatch.setenv("HUAWEICLOUD_SDK_SECURITY_TOKEN", "ticket")
        make(sandbox.url).ready()


def test_a_file_that_was_rewritten_is_read_again_when_its_key_is_refused(
    put: Put, make: MakeTarget, sandbox: SandboxServer
) -> None:
    put("file", sandbox.access_key, sandbox.secret_key)
    target = make(sandbox.url)
    target.ready()
    put("file", "old", "key")
    target.ready()
    put("file", sandbox.access_key, sandbox.secret_key)
    fresh = make(sandbox.url)
    put("file", "old", "key")
    with pytest.raises(PermanentFailure):
        fresh.ready()
    put("file", sandbox.access_key, sandbox.secret_key)
    fresh.ready()


# Nothing anywhere


def test_what_is_missing_is_said_with_everything_that_was_looked_at(
    make: MakeTarget, sandbox: SandboxServer, tmp_path: Path
) -> None:
    nowhere = unreachable()
    with pytest.raises(TemporaryFailure) as failed:
        make(sandbox.url, metadata_endpoint=nowhere).ready()
    error = failed.value
    assert error.code == "functiongraph.no_credentials"
    for words in error.message:
        assert "relay.toml" in words
        assert "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not set" in words
        assert "CLOUD_SDK_AK and CLOUD_SDK_SK are not set" in words
        assert f"{tmp_path}/.huaweicloud/credentials is not there" in words
        assert nowhere in words
    for words in error.hint:
        assert "access_key" in words
        assert "iam_user" in words
    assert sandbox.calls == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[basic]\nak = x\n", "has no sk in [basic]"),
        (b"[basic]\n", "has no ak and no sk in [basic]"),
        (b"[global]\nak = x\nsk = y\n", "has no section [basic]"),
        (b"sk=shh-secret\n", "is no ini file"),
        (b"[basic]\nsk=shh-secret\nsk=shh-secret\n", "is no ini file"),
        (b"\xff\xfe\x00", "is no ini file"),
        (b"[x]\n" + b"a = b\n" * 20_000, ""),
        (None, "cannot be read: Is a directory"),
    ],
    ids=str,
)
def test_a_file_without_a_key_is_said_and_not_quoted(
    content: bytes | None, words: str, make: MakeTarget, sandbox: SandboxServer, tmp_path: Path
) -> None:
    path = tmp_path / ".huaweicloud" / "credentials"
    path.parent.mkdir()
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(TemporaryFailure) as failed:
        make(sandbox.url, metadata_endpoint=unreachable()).ready()
    assert f"{path} {words}" in failed.value.message.en
    assert "shh-secret" not in str(failed.value)


def test_auth_by_token_looks_nowhere(put: Put, make: MakeTarget, cloud: SandboxServer) -> None:
    put("environment", "x", OTHER)
    make(cloud.url, auth="token", **by_token(cloud)).ready()
    assert asked(cloud, *ASKED) == 0


# The metadata service


@pytest.mark.parametrize("version", [1, 2])
def test_a_server_with_an_agency_needs_no_key(version: int, make: MakeTarget, clock: Clock) -> None:
    with SandboxServer(
        project_id=PROJECT, agency_life=timedelta(days=1), metadata_version=version, clock=clock
    ) as cloud:
        target = make(cloud.url)
        seen = target.ready()
        assert f"access key from the metadata service {cloud.url} accepted" in seen
        target.create(ORDER, export(), ignore)
        target.replace(target.held(ORDER), export("other"), ignore)  # type: ignore[arg-type]
        assert asked(cloud, *ASKED) == 2
        assert len(cloud.imports) == 1


def test_its_key_is_renewed_before_it_ends(
    make: MakeTarget, cloud: SandboxServer, clock: Clock
) -> None:
    target = make(cloud.url)
    target.ready()
    clock.forward(hours=23, minutes=29)
    target.ready()
    assert asked(cloud, "metadata_key") == 1
    clock.forward(minutes=2)
    target.ready()
    target.ready()
    assert asked(cloud, "metadata_key") == 2
    clock.forward(hours=23)
    target.ready()
    assert asked(cloud, "metadata_key") == 2


def test_trouble_while_renewing_ahead_is_no_trouble_yet(
    make: MakeTarget, cloud: SandboxServer, clock: Clock
) -> None:
    target = make(cloud.url)
    target.ready()
    clock.forward(hours=23, minutes=31)
    cloud.fault(operation="metadata_key", status=500, times=None)
    target.ready()
    target.ready()
    assert asked(cloud, "metadata_key") == 2
    clock.forward(minutes=1)
    target.ready()
    assert asked(cloud, "metadata_key") == 3
    clock.forward(hours=1)
    with pytest.raises(TemporaryFailure) as failed:
        target.ready()
    assert "answered 500" in failed.value.message.en


def test_a_key_that_ended_in_the_middle_of_work_is_renewed_within_the_attempt(
    make: MakeTarget, cloud: SandboxServer
) -> None:
    target = make(cloud.url)
    target.ready()
    cloud.end_agency_keys()
    target.create(ORDER, export(size=5_000_000), ignore)
    assert [call.status for call in cloud.calls if call.operation == "import"] == [401, 200]
    assert len(cloud.imports) == 1
    assert asked(cloud, "metadata_key") == 2


def test_a_key_that_is_refused_though_it_is_the_newest_is_not_tried_again(
    make: MakeTarget, cloud: SandboxServer
) -> None:
    target = make(cloud.url)
    target.ready()
    cloud.fault(operation="import", status=401, code="APIGW.0301", times=None)
    with pytest.raises(PermanentFailure):
        target.create(ORDER, export(), ignore)
    assert asked(cloud, "import") == 1


def test_many_threads_renew_a_key_once(make: MakeTarget, cloud: SandboxServer) -> None:
    target = make(cloud.url)
    target.ready()
    cloud.end_agency_keys()
    cloud.fault(operation="metadata_key", delay=0.2)
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: target.ready(), range(8)))
    assert len(seen) == 8
    assert asked(cloud, "metadata_key") == 2


def test_the_first_of_many_threads_finds_the_key_for_all(
    make: MakeTarget, cloud: SandboxServer
) -> None:
    target = make(cloud.url)
    cloud.fault(operation="metadata_key", delay=0.2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: target.ready(), range(8)))
    assert asked(cloud, "metadata_key") == 1


def test_threads_do_not_wait_for_one_that_renews_ahead(
    make: MakeTarget, cloud: SandboxServer, clock: Clock
) -> None:
    target = make(cloud.url)
    target.ready()
    clock.forward(hours=23, minutes=31)
    cloud.fault(operation="metadata_token", delay=1.5)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: target.ready(), range(4)))
    slow = [n for n, call in enumerate(cloud.calls) if call.operation == "metadata_key"][-1]
    before = [call for call in cloud.calls[:slow] if call.operation == "quotas"]
    assert len(before) == 1 + 3


def test_a_server_without_an_agency_is_told_what_it_needs(
    make: MakeTarget, sandbox: SandboxServer, clock: Clock
) -> None:
    target = make(sandbox.url)
    for _ in range(3):
        with pytest.raises(PermanentFailure) as refused:
            target.ready()
        assert refused.value.code == "functiongraph.no_credentials"
        assert "Please configure Cloud Service Agency first" in refused.value.message.en
        assert "agency" in refused.value.hint.en
        assert "委托" in refused.value.hint.zh
    assert asked(sandbox, "metadata_key") == 1
    clock.forward(minutes=2)
    with pytest.raises(PermanentFailure):
        target.ready()
    assert asked(sandbox, "metadata_key") == 2


def test_it_is_never_asked_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, make: MakeTarget, cloud: SandboxServer, scripted: Scripted
) -> None:
    monkeypatch.setenv("http_proxy", scripted.url)
    monkeypatch.setenv("no_proxy", "")
    make(cloud.url).ready()
    assert [call.operation for call in cloud.calls] == ASKED
    assert len(scripted.calls) == 1


def test_a_big_archive_is_refused_before_a_key_is_looked_for(
    make: MakeTarget, cloud: SandboxServer
) -> None:
    with pytest.raises(PermanentFailure) as refused:
        make(cloud.url).create(ORDER, export(size=10_000_000), ignore)
    assert refused.value.code == "functiongraph.needs_token"
    assert cloud.calls == []


GOOD = {"access": "a", "secret": "s", "securitytoken": "t", "expires_at": "2026-11-25T12:00:00Z"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "", TemporaryFailure),
        (200, "[" * 5000, TemporaryFailure),
        (200, [], TemporaryFailure),
        (200, {"credential": None}, TemporaryFailure),
        (200, {"credential": {**GOOD, "secret": ""}}, TemporaryFailure),
        (200, {"credential": {**GOOD, "securitytoken": "a\r\nb"}}, TemporaryFailure),
        (200, {"credential": {**GOOD, "access": 7}}, TemporaryFailure),
        (302, "", PermanentFailure),
        (400, "", PermanentFailure),
        (404, "no", PermanentFailure),
        (429, "", TemporaryFailure),
        (500, "", TemporaryFailure),
    ],
    ids=str,
)
def test_whatever_answers_there_is_an_error_of_the_tree(
    status: int, body: Any, kind: type[RelayError], make: MakeTarget, scripted: Scripted
) -> None:
    scripted.status, scripted.body = status, body
    with pytest.raises(RelayError) as failed:
        make(scripted.url).ready()
    assert failed.value.code == "functiongraph.no_credentials"
    assert type(failed.value) is kind


@pytest.mark.parametrize("expires", [None, "soon", 7, "2026-11-24T13:00:00", "2026-11-24T13:00Z"])
def test_when_a_key_ends_may_be_told_in_any_way(
    expires: object, make: MakeTarget, scripted: Scripted, clock: Clock
) -> None:
    scripted.body = {"credential": {**GOOD, "expires_at": expires}, "quotas": {}}
    target = make(scripted.url)
    target.ready()
    first = len(scripted.calls)
    clock.forward(minutes=50)
    target.ready()
    assert len(scripted.calls) == first + 1
    clock.forward(minutes=8)
    target.ready()
    assert len(scripted.calls) > first + 2


def test_no_secret_is_shown(put: Put, make: MakeTarget, sandbox: SandboxServer) -> None:
    put("environment", sandbox.access_key, "wrong-secret-word")
    target = make(sandbox.url)
    with pytest.raises(PermanentFailure) as refused:
        target.ready()
    assert "wrong-secret-word" not in f"{refused.value} {refused.value.answer}"
