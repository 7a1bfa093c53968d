"""A relay between a folder, a sandbox and an inbox, all real; tests trigger each step."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import pytest

from relay import plugins as loader
from relay.app.relay import Relay
from relay.config import load as settings
from relay.delivery.deliver import Deliverer
from relay.ledger import DeliveryQuery, Ledger
from relay.model import Claim, Delivery, Incoming, Kind, Origin, Outcome, utc_now
from relay.testing.sandbox.exports import CODE_FILE, make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.inbox import InboxServer

SECRET = "whsec_dGhlLXNlY3JldC1vZi10aGUtaW1wb3J0LXBhdGgtdGVzdHM="

CONFIGURATION = """
[database]
url = "{database}"

[delivery]
attempts = {attempts}
first_delay = "20ms"
longest_delay = "200ms"
lease = "10m"
workers = {workers}

[outbound]
allow_private = ["127.0.0.0/8"]
connect_timeout = "10s"
read_timeout = "{read_timeout}"

[sources.exports]
{source}

[targets.prod]
kind = "functiongraph"
region = "{sandbox.region}"
project_id = "{sandbox.project_id}"
endpoint = "{sandbox.url}"
access_key = "{sandbox.access_key}"
secret_key = "{sandbox.secret_key}"
iam_user = "{sandbox.iam_user}"
iam_password = "{sandbox.iam_password}"
iam_domain = "{sandbox.iam_domain}"
iam_endpoint = "{sandbox.url}"
concurrency = {workers}
{target}

[channels.ops]
kind = "webhook"
url = "{inbox.url}/webhook/ops"
secret = "{secret}"

[[routes]]
source = "exports"
target = "prod"
func_name = "{func_name}"
on_conflict = "{on_conflict}"
channels = ["ops"]
"""

FOLDER = """
kind = "local"
folder = "{folder}/exports"
settle = "0"
"""


class Clock:
    """The worker's clock: tests set it forward, and it can run `rate` times faster."""

    def __init__(self, rate: float) -> None:
        self._start = utc_now()
        self._rate = rate
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        return self._start + (utc_now() - self._start) * self._rate + self._ahead

    def forward(self, span: timedelta) -> None:
        self._ahead += span


class World:
    """A relay with its surroundings. The worker has no threads until `relay.worker.start()`."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        *,
        on_conflict: str = "skip",
        func_name: str = "{function}",
        database: str | None = None,
        read_timeout: str = "5s",
        workers: int = 1,
        attempts: int = 20,
        source: str = FOLDER,
        clock_rate: float = 1,
        target: str = "",
        **sandbox: Any,
    ) -> None:
        self.exports = folder / "exports"
        self.exports.mkdir()
        self.sandbox = stack.enter_context(SandboxServer(**sandbox))
        self.inbox = stack.enter_context(InboxServer(webhook_secret=SECRET))
        path = folder / "relay.toml"
        path.write_text(
            CONFIGURATION.format(
                folder=folder,
                database=database or f"sqlite:///{stack.enter_context(memory_folder())}/relay.db",
                sandbox=self.sandbox,
                inbox=self.inbox,
                secret=SECRET,
                on_conflict=on_conflict,
                func_name=func_name,
                read_timeout=read_timeout,
                workers=workers,
                target=target,
                attempts=attempts,
                source=source.format(folder=folder),
            )
        )
        chosen = settings.load(path, {}, loader.settings_class)
        ledger = Ledger.open(chosen.database.url)
        ledger.administration.migrate()
        plugins = loader.build(chosen, loader.outbound(chosen))
        self.clock = Clock(clock_rate)
        self.relay = Relay(chosen, ledger, plugins, clock=self.clock)
        stack.callback(self.relay.close)

    def put(self, function: str = "hello", body: bytes | None = None, **more: Any) -> Path:
        """Write an export to the folder, without a notification."""
        path = self.exports / f"{function}.zip"
        path.write_bytes(make_export(function, **more) if body is None else body)
        return path

    def announce(self) -> None:
        """Accept all objects of the folder in a single notification, as a scan does."""
        events = list(self.relay.plugins.sources["exports"].scan())
        self.relay.intake.accept_found(Incoming("exports", b"", utc_now(), Origin.SCAN), events)

    def upload(self, function: str = "hello", body: bytes | None = None, **more: Any) -> Path:
        path = self.put(function, body, **more)
        self.announce()
        return path

    def claim(self, kind: Kind = Kind.IMPORT) -> Claim:
        """Claim the next delivery, a second later."""
        self.clock.forward(timedelta(seconds=1))
        claim = self.relay.worker.claim(kind)
        assert claim is not None, "nothing is due"
        return claim

    def attempt(self, watch: Callable[[int], None] = lambda _: None) -> Outcome | None:
        """Run and record an attempt of the due import."""
        return self.relay.worker.run(self.claim(), watch)

    def killed_attempt(self) -> None:
        """Run an attempt whose process crashes before it records the outcome."""
        Deliverer(self.relay.ledger, self.relay.plugins).deliver(self.claim())
        self.relay.ledger.queue.reclaim(self.relay.worker.owner, self.clock())

    def until_finished(self, attempts: int = 10) -> Delivery:
        """Run attempts of the only import until it has ended, then post the messages."""
        for _ in range(attempts):
            if self.delivery.state.finished:
                break
            self.attempt()
        assert self.delivery.state.finished, self.delivery.error
        self.post_messages()
        return self.delivery

    def post_messages(self) -> None:
        while claim := self.relay.worker.claim(Kind.MESSAGE):
            self.relay.worker.run(claim)

    def deliveries(self, kind: Kind) -> list[Delivery]:
        found: list[Delivery] = []
        cursor = None
        while True:
            query = DeliveryQuery(kind=kind, limit=200, cursor=cursor)
            page = self.relay.ledger.history.deliveries(query)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    @property
    def delivery(self) -> Delivery:
        """The only import."""
        [delivery] = self.deliveries(Kind.IMPORT)
        return delivery

    @property
    def imports(self) -> list[Any]:
        """All import calls, including those that failed."""
        return [call for call in self.sandbox.calls if call.operation == "import"]

    @property
    def message_types(self) -> list[str]:
        """The types of the messages that the inbox accepted, without repeats of an id."""
        types_by_id = {m.webhook_id: m.json["type"] for m in self.inbox.messages if m.status == 204}
        return list(types_by_id.values())

    def stored(self, function: str) -> bytes:
        """The code file that the sandbox holds, byte for byte."""
        return self.sandbox.functions[function].code.path.read_bytes()


def code_of(export: bytes) -> bytes:
    """The code file in an export."""
    with zipfile.ZipFile(io.BytesIO(export)) as opened:
        return opened.read(CODE_FILE)


def memory_folder() -> TemporaryDirectory[str]:
    """A folder in memory for the ledger: thousands of transactions would wait for the disk, and no
    test here needs durability."""
    memory = "/dev/shm"
    return TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


def until(condition: Callable[[], Any], within: float = 20.0, interval: float = 0.005) -> None:
    """Wait for a condition that another thread fulfils; check it every `interval` seconds."""
    end = monotonic() + within
    while not condition():
        assert monotonic() <= end, f"not within {within} s"
        sleep(interval)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def database() -> str | None:
    """None means SQLite. Modules that test the ledger override this with `ledger_url`."""
    return None


@pytest.fixture
def make_world(tmp_path: Path, database: str | None) -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:
        yield lambda **options: World(stack, tmp_path, database=database, **options)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
