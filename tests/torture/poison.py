"""P1, P2: harmful archives, notifications and handlers; a target removed from the configuration."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable

import requests

from tests.archive.conftest import File, Zip, good_files
from tests.torture.hostile import EXITS, HANGS, RAISES
from tests.torture.latency import compare_latencies, latencies
from tests.torture.record import Upload
from tests.torture.scenario import SQLITE, Run, scenario
from tests.torture.world import HEADERS, World, wait_until

MIB = 1 << 20


def _with(*args: object, **changes: object) -> Callable[[], bytes]:
    return lambda: Zip([*good_files(), File(*args, **changes)]).bytes()


def _corrupt() -> bytes:
    body = bytearray(Zip(good_files()).bytes())
    at = body.index(b"codecode")
    body[at] ^= 1
    return bytes(body)


def _bomb() -> bytes:
    """42 kB that unpack to 4 GB: a hundred entries share a body."""
    body = File("zeros", bytes(40 * MIB), method=8)
    shared = {"offset": 0, "crc": body.fields["crc"], "compressed": len(body.data)}
    shared["size"] = 40 * MIB
    more = [File(f"z{n}", b"", method=8, packed=b"", central=shared) for n in range(100)]
    return Zip([body, *good_files(), *more]).bytes()


def _seventy_thousand() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as many:
        for number in range(70_000):
            many.writestr(zipfile.ZipInfo(f"{number:x}"), b"")
    return file.getvalue()


BAD: dict[str, tuple[str | tuple[str, ...], Callable[[], bytes]]] = {
    "corrupt": ("archive.crc", _corrupt),
    "bomb": (("archive.bomb", "archive.overlap"), _bomb),
    "entries": ("archive.too_many", _seventy_thousand),
    "zip64": ("archive.zip64", lambda: Zip(good_files(), zip64={"record": 90}).bytes()),
    "parent": ("archive.name_parent", _with("../../etc/passwd")),
    "encrypted": ("archive.encrypted", _with(flags=1)),
    "mismatch": ("archive.headers_differ", _with("a", local={"name": b"b"})),
    "text": ("archive.not_a_zip", lambda: b"hello, this is text\n" * 9),
}
HOSTILE = {RAISES: "relay.bug", HANGS: "delivery.hangs", EXITS: "delivery.crashes"}


@scenario("P1", "poison among good ones", alone=True)
def poison(run: Run) -> None:
    """Good deliveries with poison at the same time must be as fast as those without, in turns."""
    turns, good = run.size(1, 5), run.size(20 if run.engine == SQLITE else 10, 200)
    bodies = {name: make() for name, (_, make) in BAD.items()}
    with run.world() as world:
        url = world.serve().url
        for turn in range(turns):
            for mark, poisons in (("c", {}), ("g", bodies)):
                world.announce_at_rate(url, _mixed(world, f"{mark}{turn}", good, poisons))
                world.settle(run.size(60, 300))
        _strange_notifications(run, world, url)
        world.settle(60)
        run.figures |= {"bad": turns * len(BAD), "reasons": len(_reasons(run, world, BAD))}
        compare_latencies(run, latencies(world, "c"), latencies(world, "g"))
    run.runs = 2 * turns * good + turns * len(BAD)
    _hostile(run)


def _hostile(run: Run) -> None:
    """Run a handler that raises, hangs or exits, and good deliveries at the same time."""
    times = {"attempts": 3, "stuck_after": "3s", "lease": "1s"}
    with run.world(kind="tests.torture.hostile:Handler", **times) as world:
        url = world.serve().url
        uploads = [world.upload_bad(f"{name}0", b"PK") for name in HOSTILE]
        # Slow enough to run during each crash; it must not be blamed for any of them.
        world.sandbox.fault(operation="import", trickle=800_000, times=None)
        world.announce_all(lambda: url, [world.upload("innocent", size=1_200_000), *uploads])
        wait_until(lambda: "innocent" in world.sandbox.functions, 60, world.log)
        world.sandbox.faults.clear()
        uploads = [world.upload(f"g{n:03}") for n in range(run.size(5, 60))]
        world.announce_all(lambda: url, uploads)
        world.settle(90)
        table = {name: (code, bytes) for name, code in HOSTILE.items()}
        _reasons(run, world, table)
        attempts_by_key = {row.key: row.attempts for row in world.ledger.deliveries("import")}
        attempts = [attempts_by_key[f"prod/{name}0.zip"] for name in HOSTILE]
        run.figures["attempts of the hostile"] = attempts
        run.must(max(attempts) <= 4, f"{attempts} attempts, more than 3 and the parking")


def _mixed(world: World, mark: str, good: int, poisons: dict[str, bytes]) -> list[Upload]:
    uploads = [world.upload(f"{mark}{n:04}") for n in range(good)]
    for number, (name, body) in enumerate(poisons.items()):
        uploads.insert(number * good // len(poisons), world.upload_bad(f"{name}{mark}", body))
    return uploads


def _strange_notifications(run: Run, world: World, url: str) -> None:
    """Post 1,000 records in a body, and an unknown event version: both are stored, never a 500."""
    record = world.upload("thousand").version.record()["Records"][0]
    strange = {**record, "eventVersion": "9.0"}
    for records, events in (([record] * 1000, 1), ([strange], 0)):
        response = requests.post(
            f"{url}/hooks/exports", json={"Records": records}, headers=HEADERS, timeout=20
        )
        run.must(response.status_code == 200, f"{len(records)} records: {response.status_code}")
        run.must(
            response.json()["events"] == events, f"{response.json()} of {len(records)} records"
        )
    verdicts = {verdict for (verdict,) in world.ledger.rows("select verdict from notifications")}
    run.must("unreadable" in verdicts, "the unknown version was not stored as unreadable")


def _reasons(
    run: Run, world: World, table: dict[str, tuple[str | tuple[str, ...], object]]
) -> set[str]:
    codes = set()
    for row in world.ledger.deliveries("import"):
        for name, (code, _) in table.items():
            if row.key.startswith(f"prod/{name}"):
                codes.add(str(row.error))
                expected = row.state == "failed" and str(row.error).startswith(code)
                run.must(expected, f"{row.key}: {row.state} ({row.error}), not failed ({code})")
    return codes


@scenario("P2", "a target that a downgrade took away")
def downgraded(run: Run) -> None:
    number = run.size(10, 50)
    constants = {"relay.delivery.run:MISSING_PLUGIN_RETRY": {"seconds": 0.5}}
    with run.world() as world:
        web = world.serve("--no-worker")
        world.announce_all(lambda: web.url, [world.upload(f"f{n:03}") for n in range(number)])
        web.stop()
        configuration = world.path.read_text()
        world.path.write_text(_without_target(configuration))
        second = world.serve(constants=constants)
        query = "select count(*) from deliveries where state = 'pending' and error is not null"
        wait_until(lambda: world.ledger.rows(query)[0][0] == number, 20, world.log)
        imports = f"{second.url}/api/v1/deliveries?kind=import&limit=200"
        page = requests.get(imports, timeout=10).json()
        codes = {json.dumps((item.get("error") or {}).get("code")) for item in page["items"]}
        wait_until(lambda: min(_attempts(world)) >= 3, 20, world.log)
        second.stop()
        world.path.write_text(configuration)
        world.serve()
        world.settle(60)
        succeeded = world.ledger.counts().get(("import", "succeeded"), 0)
        run.runs = number
        run.figures |= {"waited with": sorted(codes), "then succeeded": succeeded}
        run.must(codes == {'"targets.unknown"'}, f"the API shows {codes}")
        run.must(succeeded == number, f"{succeeded} of {number} succeeded after the upgrade")


def _attempts(world: World) -> list[int]:
    return [row.attempts for row in world.ledger.deliveries("import")]


def _without_target(text: str) -> str:
    """Return the configuration with the target renamed."""
    return text.replace("[targets.prod]", "[targets.other]").replace('"prod"', '"other"')
