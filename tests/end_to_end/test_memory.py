"""A 300 MB export goes from S3 into the sandbox in constant memory and without a temporary file."""

from pathlib import Path

from relay.model import State
from relay.testing.sandbox.exports import write_export

MIB = 1024 * 1024
SIZE = 299 * MIB


def peak(process):
    """The most memory the process ever held, in bytes (VmHWM)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def written(process):
    """Bytes that the process caused to be written to disk."""
    told = Path(f"/proc/{process.pid}/io").read_text()
    [line] = [line for line in told.splitlines() if line.startswith("wchar")]
    return int(line.split()[1])


def test_three_hundred_megabytes_pass_in_constant_memory_without_a_temporary_file(world, tools):
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
    idle, before = peak(process), written(process)
    [submitted] = relay.operations.submit("exports", "exports", "prod/warm.zip")
    tools.until(lambda: relay.ledger.history.delivery(submitted.id).state.finished, 120, world.log)
    delivery = relay.ledger.history.delivery(submitted.id)
    assert delivery.state == State.SUCCEEDED, delivery.error
    assert delivery.result["size"] > 290 * MIB
    assert world.sandbox.functions["hello"].code_size == delivery.result["code_size"]
    assert peak(process) - idle <= 8 * MIB
    sent = 4 * delivery.result["size"] / 3
    assert written(process) - before < sent + 8 * MIB, "only the request itself was written"
    assert list(temporary.iterdir()) == []
