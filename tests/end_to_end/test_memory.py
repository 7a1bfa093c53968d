"""A 300 MB export goes from S3 into the sandbox in constant memory and without a temporary file."""

from pathlib import Path

from relay.model import State
from relay.testing.sandbox.exports import write_export
from tests.end_to_end.world import until

MIB = 1024 * 1024
SIZE = 299 * MIB


def peak_memory(process):
    """Return the peak resident set size in bytes (VmHWM)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def bytes_written(process):
    """Return the bytes that the process has written to files and sockets."""
    counters = Path(f"/proc/{process.pid}/io").read_text()
    [line] = [line for line in counters.splitlines() if line.startswith("wchar")]
    return int(line.split()[1])


def test_a_300_mb_import_needs_constant_memory_and_no_temporary_file(world):
    path = world.folder / "big.zip"
    write_export(path, "hello", code_size=SIZE - 4096)
    temporary = world.folder / "tmp"
    temporary.mkdir()
    with path.open("rb") as file:
        world.s3.upload_fileobj(file, "exports", "prod/warm.zip")
    process = world.process("work", TMPDIR=str(temporary))
    relay = world.relay()
    world.upload(key="prod/small.zip", function="small")
    relay.operations.submit("exports", "exports", "prod/small.zip")
    world.settled(within=30)
    memory_before, written_before = peak_memory(process), bytes_written(process)
    [submitted] = relay.operations.submit("exports", "exports", "prod/warm.zip")
    until(lambda: relay.ledger.history.delivery(submitted.id).state.finished, 120, world.log)
    delivery = relay.ledger.history.delivery(submitted.id)
    assert delivery.state == State.SUCCEEDED, delivery.error
    assert delivery.result["size"] > 290 * MIB
    assert world.sandbox.functions["hello"].code_size == delivery.result["code_size"]
    assert peak_memory(process) - memory_before <= 8 * MIB
    request_size = 4 * delivery.result["size"] / 3
    written = bytes_written(process) - written_before
    assert written < request_size + 8 * MIB, "something besides the request was written"
    assert list(temporary.iterdir()) == []
