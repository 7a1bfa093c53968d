"""Uploads: bad content never arrives completely, and early responses are handled."""

from __future__ import annotations

import random
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.model import State
from relay.testing.sandbox.exports import make_export, write_export

from .conftest import World, code_of, until

MB = 10**6


def base64_size(size: int) -> int:
    return (size + 2) // 3 * 4


def write_with_code_last(path: Path, size: int) -> int:
    """Write an export with the YAML first; returns the offset of the last byte of the code."""
    properties = {"CodeFileName": "index.zip", "CodeType": "zip", "Handler": "index.handler"}
    properties |= {"Runtime": "Python3.9", "MemorySize": 128, "Timeout": 3}
    described = {"Type": "HC::Serverless::Function", "Properties": properties}
    document = {"HcCrmTemplateVersion": "v1", "Resources": {"hello": described}}
    with zipfile.ZipFile(path, "w") as export:
        export.writestr("hello.yaml", yaml.safe_dump(document))
        export.writestr("index.zip", random.Random(1).randbytes(size))
        return export.start_dir - 1


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        [byte] = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x01]))


def check_never_whole(world: World, size: int) -> None:
    [call] = world.imports
    assert call.received < base64_size(size)
    assert (call.applied, call.status) == (False, None)
    assert world.sandbox.functions == {}


def test_a_corrupted_byte_in_the_last_entry_of_100_mb_is_never_imported(world: World) -> None:
    path = world.exports / "hello.zip"
    last = write_with_code_last(path, 100 * MB)
    flip(path, last)
    world.announce()
    world.until_finished(attempts=1)
    check_never_whole(world, path.stat().st_size)
    [call] = world.imports
    assert call.received > 90 * MB, "the damage was detected at the very end"
    assert world.delivery.state == State.FAILED
    problem = world.delivery.error
    assert problem.code == "archive.crc"
    assert "index.zip" in problem.message.en
    assert "index.zip" in problem.message.zh
    assert problem.message.en != problem.message.zh
    assert problem.hint.en
    assert problem.hint.zh
    [message] = [message.json for message in world.inbox.messages]
    assert message["type"] == "import.failed"
    assert message["data"]["error"]["code"] == "archive.crc"


def test_the_same_100_mb_without_the_corrupted_byte_are_imported(world: World) -> None:
    path = world.exports / "hello.zip"
    write_with_code_last(path, 100 * MB)
    world.announce()
    assert world.until_finished(attempts=1).state == State.SUCCEEDED
    assert world.sandbox.functions["hello"].code_size == 100 * MB


def test_a_corrupted_byte_in_the_yaml_is_refused_before_anything_is_sent(world: World) -> None:
    path = world.exports / "hello.zip"
    write_export(path, "hello", code_size=5 * MB)
    flip(path, path.read_bytes().index(b"Python3.9"))
    world.announce()
    assert world.until_finished(attempts=1).error.code == "archive.crc"
    assert world.sandbox.calls == []


def replace_by_rename(path: Path, body: bytes) -> None:
    other = path.with_suffix(".part")
    other.write_bytes(body)
    other.rename(path)


def overwrite(path: Path, body: bytes) -> None:
    with path.open("r+b") as file:
        file.write(body)
        file.truncate()


def change_during_upload(world: World, change: Callable[[], None]) -> None:
    """Slow the import down, and make the change when a part of it has arrived."""
    world.sandbox.fault(operation="import", trickle=15 * MB)
    attempt = threading.Thread(target=world.attempt)
    attempt.start()
    try:
        until(lambda: any(call.received > MB for call in world.imports))
        change()
    finally:
        attempt.join(30)
    assert not attempt.is_alive()


@pytest.mark.parametrize("size", [20 * MB, 1000], ids=["as long", "shorter"])
def test_an_object_overwritten_during_the_upload_is_skipped(world: World, size: int) -> None:
    path = world.upload("hello", code_size=20 * MB)
    before = path.stat().st_size
    newer = make_export("hello", code={"index.py": b"newer = True\n"}, code_size=size)
    change_during_upload(world, lambda: overwrite(path, newer))
    world.post_messages()
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "superseded")
    check_never_whole(world, before)
    assert world.message_types == ["import.skipped"]


def test_the_newer_version_is_imported_by_a_separate_delivery(world: World) -> None:
    path = world.upload("hello", code_size=20 * MB)
    newer = make_export("hello", code={"index.py": b"newer = True\n"})
    change_during_upload(world, lambda: overwrite(path, newer))
    world.announce()
    world.attempt()
    assert world.stored("hello") == code_of(newer)
    assert sum(call.applied for call in world.sandbox.calls) == 1


def test_an_object_replaced_during_the_upload_is_never_mixed_with_the_new_version(
    world: World,
) -> None:
    """A rename keeps the open file complete: the import is the old version, byte for byte."""
    path = world.upload("hello", code_size=20 * MB)
    before = path.read_bytes()
    change_during_upload(world, lambda: replace_by_rename(path, make_export("hello")))
    assert world.delivery.state == State.SUCCEEDED
    assert world.stored("hello") == code_of(before)


SIZE = 50 * MB
SOCKET_BUFFERS = 16 * MB
"""A generous upper bound for the socket buffers of both ends."""


def bytes_sent_in_an_attempt(world: World) -> int:
    """Run an attempt; returns the number of archive bytes sent."""
    sent: list[int] = []
    world.attempt(sent.append)
    return sum(sent)


def early_response(code: str, status: int) -> dict[str, Any]:
    return {"operation": "import", "status": status, "code": code, "cut_after": 100_000}


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "APIGW.0303"), (403, "FSS.1122"), (413, "FSS.0413"), (400, "FSS.1010")],
)
def test_an_early_refusal_is_reported_with_its_code(world: World, status: int, code: str) -> None:
    world.upload("hello", code_size=SIZE)
    world.sandbox.fault(**early_response(code, status))
    sent = bytes_sent_in_an_attempt(world)
    assert sent < SOCKET_BUFFERS
    assert world.delivery.state == State.FAILED
    assert world.delivery.error.code == f"functiongraph.{code.lower()}"
    assert str(status) in world.delivery.error.message.en
    assert world.delivery.error.hint.zh
    check_not_read(world)


def check_not_read(world: World) -> None:
    assert all(call.received <= 100_000 for call in world.imports if call.status != 200)
    assert not any(call.applied for call in world.imports if call.status != 200)


def test_the_size_limit_of_the_target_is_reported_early(
    make_world: Callable[..., World],
) -> None:
    world = make_world(max_size=10 * MB)
    world.upload("hello", code_size=SIZE)
    assert bytes_sent_in_an_attempt(world) < SOCKET_BUFFERS
    assert world.delivery.error.code == "functiongraph.fss.0413"
    assert [call.received for call in world.imports] == [0]


def test_an_archive_over_300_mib_is_imported_if_max_size_allows_it(
    make_world: Callable[..., World],
) -> None:
    limit = 320 * 2**20
    world = make_world(target='max_size = "320MiB"', max_size=limit, read_timeout="60s")
    world.upload("hello", code_size=301 * 2**20)
    world.attempt()
    assert world.delivery.state == State.SUCCEEDED
    assert world.sandbox.functions["hello"].code_size > 300 * 2**20


def test_an_archive_over_max_size_is_refused_before_it_is_sent(
    make_world: Callable[..., World],
) -> None:
    world = make_world(target='max_size = "1MiB"')
    world.upload("hello", code_size=2 * MB)
    world.attempt()
    assert world.delivery.error.code == "functiongraph.too_large"
    assert "targets.prod.max_size" in world.delivery.error.hint.en
    assert world.imports == []


def test_an_early_409_is_a_conflict_and_follows_the_policy(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="skip")
    world.sandbox.hold("hello", code=b"made by another client")
    world.upload("hello", code_size=SIZE)
    world.sandbox.fault(**early_response("FSS.1061", 409))
    assert bytes_sent_in_an_attempt(world) < SOCKET_BUFFERS
    assert world.delivery.error.code == "conflict.other_content"
    check_not_read(world)


def test_an_early_409_for_the_same_content_is_unchanged(world: World) -> None:
    path = world.upload("hello", code_size=SIZE)
    world.sandbox.hold("hello", code=code_of(path.read_bytes()))
    world.sandbox.fault(**early_response("FSS.1061", 409))
    world.attempt()
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "unchanged")
    check_not_read(world)


def test_a_token_that_expires_during_the_upload_is_renewed_and_the_import_repeated(
    world: World,
) -> None:
    path = world.upload("hello", code_size=SIZE)
    world.sandbox.fault(**early_response("APIGW.0307", 401))
    world.attempt()
    assert world.delivery.state == State.SUCCEEDED
    assert world.delivery.attempts == 1
    assert world.stored("hello") == code_of(path.read_bytes())
    assert [call.status for call in world.imports] == [401, 200]
    assert sum(call.operation == "token" for call in world.sandbox.calls) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_an_early_retry_after_is_honoured(world: World, status: int) -> None:
    world.upload("hello", code_size=SIZE)
    world.sandbox.fault(operation="import", status=status, retry_after=77, cut_after=100_000)
    assert bytes_sent_in_an_attempt(world) < SOCKET_BUFFERS
    wait = world.delivery.due - world.clock()
    assert 60 < wait.total_seconds() <= 77
    check_not_read(world)


def test_a_reset_in_the_middle_of_50_mb_is_retried(world: World) -> None:
    path = world.upload("hello", code_size=SIZE)
    world.sandbox.fault(operation="import", cut_after=20 * MB)
    world.attempt()
    assert world.delivery.state == State.PENDING
    world.until_finished()
    assert world.delivery.state == State.SUCCEEDED
    assert world.stored("hello") == code_of(path.read_bytes())
    assert [call.applied for call in world.imports] == [False, True]
