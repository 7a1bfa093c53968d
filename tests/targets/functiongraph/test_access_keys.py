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
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.sandbox.functiongraph import SandboxServer
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
WRONG = "another-secret-word"
METADATA_CALLS = ["metadata_token", "metadata_key"]

StoreKey = Callable[..., None]


@pytest.fixture
def cloud(clock: Clock) -> Iterator[SandboxServer]:
    """A sandbox whose metadata service returns keys that are valid for a day."""
    day = timedelta(days=1)
    with SandboxServer(project_id=PROJECT, agency_life=day, clock=clock) as server:
        yield server


@pytest.fixture
def store_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StoreKey:
    """Store a key in a source: store_key("file", ak, sk, more_lines)."""

    def store_key(source: str, ak: str, sk: str, more_lines: str = "") -> None:
        if source == "file":
            path = tmp_path / ".huaweicloud" / "credentials"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"[basic]\nak = {ak}\nsk = {sk}\n{more_lines}")
            return
        prefix = {"environment": "HUAWEICLOUD_SDK", "samples": "CLOUD_SDK"}[source]
        monkeypatch.setenv(f"{prefix}_AK", ak)
        monkeypatch.setenv(f"{prefix}_SK", sk)

    return store_key


def count_calls(sandbox: SandboxServer, *operations: str) -> int:
    return sum(call.operation in operations for call in sandbox.calls)


def unreachable() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


# Sources


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ("environment", "the environment (HUAWEICLOUD_SDK_AK)"),
        ("samples", "the environment (CLOUD_SDK_AK)"),
        ("file", "the credentials file {home}/.huaweicloud/credentials"),
    ],
)
def test_a_key_is_found_in_every_source_of_the_sdk(
    source: str,
    description: str,
    store_key: StoreKey,
    make_target: MakeTarget,
    sandbox: SandboxServer,
    tmp_path: Path,
) -> None:
    store_key(source, sandbox.access_key, sandbox.secret_key)
    result = make_target(sandbox.url).ready()
    assert f"access key from {description.format(home=tmp_path)} accepted" in result
    assert sandbox.secret_key not in result
    assert sandbox.access_key not in result


def test_the_sources_are_searched_in_order(
    store_key: StoreKey, make_target: MakeTarget, cloud: SandboxServer
) -> None:
    for configured, source in (
        (by_key(cloud), "relay.toml"),
        ({}, "HUAWEICLOUD_SDK_AK"),
    ):
        store_key("environment", cloud.access_key, cloud.secret_key if not configured else WRONG)
        store_key("samples", "x", WRONG)
        store_key("file", "y", WRONG)
        assert source in make_target(cloud.url, **configured).ready()
    assert count_calls(cloud, *METADATA_CALLS) == 0


def test_no_key_is_discovered_if_relay_toml_has_an_iam_user(
    store_key: StoreKey, make_target: MakeTarget, cloud: SandboxServer
) -> None:
    store_key("environment", "x", WRONG)
    assert "access key" not in make_target(cloud.url, **by_token(cloud)).ready()
    assert count_calls(cloud, *METADATA_CALLS) == 0


def test_an_incomplete_key_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
    store_key: StoreKey,
    make_target: MakeTarget,
    sandbox: SandboxServer,
) -> None:
    monkeypatch.setenv("HUAWEICLOUD_SDK_AK", "half")
    store_key("file", sandbox.access_key, sandbox.secret_key)
    assert "credentials file" in make_target(sandbox.url).ready()


def test_the_file_can_have_another_path_and_any_characters_in_the_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_target: MakeTarget, clock: Clock
) -> None:
    special = "%(special)s%;#="
    monkeypatch.setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", str(tmp_path / "keys.ini"))
    with SandboxServer(
        project_id=PROJECT, secret_key=special, security_token="ticket", clock=clock
    ) as sandbox:
        (tmp_path / "keys.ini").write_text(
            f"[global]\nak = x\n[basic]\nak = {sandbox.access_key}\nsk = {special}\n"
            "security_token = ticket\n"
        )
        assert "keys.ini accepted" in make_target(sandbox.url).ready()


def test_a_temporary_key_from_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, store_key: StoreKey, make_target: MakeTarget, clock: Clock
) -> None:
    with SandboxServer(project_id=PROJECT, security_token="ticket", clock=clock) as sandbox:
        store_key("environment", sandbox.access_key, sandbox.secret_key)
        with pytest.raises(PermanentFailure):
            make_target(sandbox.url).ready()
        monkeypatch.setenv("HUAWEICLOUD_SDK_SECURITY_TOKEN", "ticket")
        make_target(sandbox.url).ready()


def test_a_rewritten_file_is_read_again_after_its_key_was_rejected(
    store_key: StoreKey, make_target: MakeTarget, sandbox: SandboxServer
) -> None:
    store_key("file", sandbox.access_key, sandbox.secret_key)
    target = make_target(sandbox.url)
    target.ready()
    store_key("file", "old", "key")
    target.ready()
    store_key("file", sandbox.access_key, sandbox.secret_key)
    fresh = make_target(sandbox.url)
    store_key("file", "old", "key")
    with pytest.raises(PermanentFailure):
        fresh.ready()
    store_key("file", sandbox.access_key, sandbox.secret_key)
    fresh.ready()


# No key found


def test_the_error_lists_every_source_that_was_searched(
    make_target: MakeTarget, sandbox: SandboxServer, tmp_path: Path
) -> None:
    nowhere = unreachable()
    with pytest.raises(TemporaryFailure) as failed:
        make_target(sandbox.url, metadata_endpoint=nowhere).ready()
    error = failed.value
    assert error.code == "functiongraph.no_credentials"
    for words in error.message:
        assert "relay.toml" in words
        assert "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not set" in words
        assert "CLOUD_SDK_AK and CLOUD_SDK_SK are not set" in words
        assert f"{tmp_path}/.huaweicloud/credentials does not exist" in words
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
        (b"sk=shh-secret\n", "is not an INI file"),
        (b"[basic]\nsk=shh-secret\nsk=shh-secret\n", "is not an INI file"),
        (b"\xff\xfe\x00", "is not an INI file"),
        (b"[x]\n" + b"a = b\n" * 20_000, ""),
        (None, "cannot be read: Is a directory"),
    ],
    ids=str,
)
def test_a_file_without_a_key_is_reported_but_not_quoted(
    content: bytes | None,
    words: str,
    make_target: MakeTarget,
    sandbox: SandboxServer,
    tmp_path: Path,
) -> None:
    path = tmp_path / ".huaweicloud" / "credentials"
    path.parent.mkdir()
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(TemporaryFailure) as failed:
        make_target(sandbox.url, metadata_endpoint=unreachable()).ready()
    assert f"{path} {words}" in failed.value.message.en
    assert "shh-secret" not in str(failed.value)


def test_auth_by_token_does_not_search_for_keys(
    store_key: StoreKey, make_target: MakeTarget, cloud: SandboxServer
) -> None:
    store_key("environment", "x", WRONG)
    make_target(cloud.url, auth="token", **by_token(cloud)).ready()
    assert count_calls(cloud, *METADATA_CALLS) == 0


# The metadata service


@pytest.mark.parametrize("version", [1, 2])
def test_a_server_with_an_agency_needs_no_key(
    version: int, make_target: MakeTarget, clock: Clock
) -> None:
    with SandboxServer(
        project_id=PROJECT, agency_life=timedelta(days=1), metadata_version=version, clock=clock
    ) as cloud:
        target = make_target(cloud.url)
        result = target.ready()
        assert f"access key from the metadata service {cloud.url} accepted" in result
        target.create(HELLO, export(), ChangeRecorder(), ignore)
        target.replace(target.held(HELLO), export("other"), ChangeRecorder(), ignore)  # type: ignore[arg-type]
        assert count_calls(cloud, *METADATA_CALLS) == 2
        assert len(cloud.imports) == 1


def test_a_temporary_key_is_renewed_before_it_expires(
    make_target: MakeTarget, cloud: SandboxServer, clock: Clock
) -> None:
    target = make_target(cloud.url)
    target.ready()
    clock.advance(hours=23, minutes=29)
    target.ready()
    assert count_calls(cloud, "metadata_key") == 1
    clock.advance(minutes=2)
    target.ready()
    target.ready()
    assert count_calls(cloud, "metadata_key") == 2
    clock.advance(hours=23)
    target.ready()
    assert count_calls(cloud, "metadata_key") == 2


def test_a_failed_early_renewal_is_an_error_only_after_the_key_expired(
    make_target: MakeTarget, cloud: SandboxServer, clock: Clock
) -> None:
    target = make_target(cloud.url)
    target.ready()
    clock.advance(hours=23, minutes=31)
    cloud.fault(operation="metadata_key", status=500, times=None)
    target.ready()
    target.ready()
    assert count_calls(cloud, "metadata_key") == 2
    clock.advance(minutes=1)
    target.ready()
    assert count_calls(cloud, "metadata_key") == 3
    clock.advance(hours=1)
    with pytest.raises(TemporaryFailure) as failed:
        target.ready()
    assert "returned 500" in failed.value.message.en


def test_a_key_that_expired_early_is_renewed_within_the_attempt(
    make_target: MakeTarget, cloud: SandboxServer
) -> None:
    target = make_target(cloud.url)
    target.ready()
    cloud.expire_agency_keys()
    target.create(HELLO, export(size=5_000_000), ChangeRecorder(), ignore)
    assert [call.status for call in cloud.calls if call.operation == "import"] == [401, 200]
    assert len(cloud.imports) == 1
    assert count_calls(cloud, "metadata_key") == 2


def test_a_rejected_key_is_not_tried_again_if_there_is_no_newer_key(
    make_target: MakeTarget, cloud: SandboxServer
) -> None:
    target = make_target(cloud.url)
    target.ready()
    cloud.fault(operation="import", status=401, code="APIGW.0301", times=None)
    with pytest.raises(PermanentFailure):
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert count_calls(cloud, "import") == 1


def test_many_threads_renew_a_key_once(make_target: MakeTarget, cloud: SandboxServer) -> None:
    target = make_target(cloud.url)
    target.ready()
    cloud.expire_agency_keys()
    cloud.fault(operation="metadata_key", delay=0.2)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: target.ready(), range(8)))
    assert len(results) == 8
    assert count_calls(cloud, "metadata_key") == 2


def test_concurrent_threads_look_up_the_key_once(
    make_target: MakeTarget, cloud: SandboxServer
) -> None:
    target = make_target(cloud.url)
    cloud.fault(operation="metadata_key", delay=0.2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: target.ready(), range(8)))
    assert count_calls(cloud, "metadata_key") == 1


def test_threads_do_not_wait_for_an_early_renewal_in_another_thread(
    make_target: MakeTarget, cloud: SandboxServer, clock: Clock
) -> None:
    target = make_target(cloud.url)
    target.ready()
    clock.advance(hours=23, minutes=31)
    cloud.fault(operation="metadata_token", delay=1.5)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: target.ready(), range(4)))
    renewal = [n for n, call in enumerate(cloud.calls) if call.operation == "metadata_key"][-1]
    before = [call for call in cloud.calls[:renewal] if call.operation == "quotas"]
    assert len(before) == 1 + 3


def test_on_a_server_without_an_agency_the_error_explains_what_is_needed(
    make_target: MakeTarget, sandbox: SandboxServer, clock: Clock
) -> None:
    target = make_target(sandbox.url)
    for _ in range(3):
        with pytest.raises(PermanentFailure) as refused:
            target.ready()
        assert refused.value.code == "functiongraph.no_credentials"
        assert "Please configure Cloud Service Agency first" in refused.value.message.en
        assert "agency" in refused.value.hint.en
        assert "委托" in refused.value.hint.zh
    assert count_calls(sandbox, "metadata_key") == 1
    clock.advance(minutes=2)
    with pytest.raises(PermanentFailure):
        target.ready()
    assert count_calls(sandbox, "metadata_key") == 2


def test_the_metadata_service_is_never_requested_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
    make_target: MakeTarget,
    cloud: SandboxServer,
    fake_server: FakeServer,
) -> None:
    monkeypatch.setenv("http_proxy", fake_server.url)
    monkeypatch.setenv("no_proxy", "")
    make_target(cloud.url).ready()
    assert [call.operation for call in cloud.calls] == METADATA_CALLS
    assert len(fake_server.requests) == 1


def test_a_large_archive_is_refused_before_a_key_is_looked_up(
    make_target: MakeTarget, cloud: SandboxServer
) -> None:
    with pytest.raises(PermanentFailure) as refused:
        make_target(cloud.url).create(HELLO, export(size=10_000_000), ChangeRecorder(), ignore)
    assert refused.value.code == "functiongraph.needs_token"
    assert cloud.calls == []


VALID = {"access": "a", "secret": "s", "securitytoken": "t", "expires_at": "2026-11-25T12:00:00Z"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "", TemporaryFailure),
        (200, "[" * 5000, TemporaryFailure),
        (200, [], TemporaryFailure),
        (200, {"credential": None}, TemporaryFailure),
        (200, {"credential": {**VALID, "secret": ""}}, TemporaryFailure),
        (200, {"credential": {**VALID, "securitytoken": "a\r\nb"}}, TemporaryFailure),
        (200, {"credential": {**VALID, "access": 7}}, TemporaryFailure),
        (302, "", PermanentFailure),
        (400, "", PermanentFailure),
        (404, "no", PermanentFailure),
        (429, "", TemporaryFailure),
        (500, "", TemporaryFailure),
    ],
    ids=str,
)
def test_any_unusable_response_of_the_metadata_service_is_a_relay_error(
    status: int, body: Any, kind: type[RelayError], make_target: MakeTarget, fake_server: FakeServer
) -> None:
    fake_server.status, fake_server.body = status, body
    with pytest.raises(RelayError) as failed:
        make_target(fake_server.url).ready()
    assert failed.value.code == "functiongraph.no_credentials"
    assert type(failed.value) is kind


@pytest.mark.parametrize("expires", [None, "soon", 7, "2026-11-24T13:00:00", "2026-11-24T13:00Z"])
def test_every_form_of_the_expiry_time_is_accepted(
    expires: object, make_target: MakeTarget, fake_server: FakeServer, clock: Clock
) -> None:
    fake_server.body = {"credential": {**VALID, "expires_at": expires}, "quotas": {}}
    target = make_target(fake_server.url)
    target.ready()
    initial = len(fake_server.requests)
    clock.advance(minutes=50)
    target.ready()
    assert len(fake_server.requests) == initial + 1
    clock.advance(minutes=8)
    target.ready()
    assert len(fake_server.requests) > initial + 2


def test_no_secret_is_shown(
    store_key: StoreKey, make_target: MakeTarget, sandbox: SandboxServer
) -> None:
    store_key("environment", sandbox.access_key, "wrong-secret-word")
    target = make_target(sandbox.url)
    with pytest.raises(PermanentFailure) as refused:
        target.ready()
    assert "wrong-secret-word" not in f"{refused.value} {refused.value.answer}"
