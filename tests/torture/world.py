"""A world: storage, sandbox, inbox and ledger, with the relay processes of a scenario."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

import requests

import relay.testing.sandbox.inbox
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.inbox import InboxServer
from relay.testing.sandbox.state import RecordedCall
from tests.torture.bucket import Bucket
from tests.torture.child import Order
from tests.torture.children import Child, Zygote
from tests.torture.configuration import HOOK_TOKEN, WEBHOOK_SECRET, Options, render
from tests.torture.ledger import Ledger
from tests.torture.record import Record, Upload, export

relay.testing.sandbox.inbox.MAX_KEPT = 10**7  # the check needs all messages
HEADERS = {"Authorization": f"Bearer {HOOK_TOKEN}"}
MEMORY = Path("/dev/shm")
STREAM_EVERYTHING = {"relay.delivery.prefetch:MAX_SIZE": 0}
"""Makes the relay stream objects of any size instead of prefetching small ones."""


@dataclass
class World:
    """The environment of the relay.

    `may_fail`: good archives may fail in this scenario. `may_repeat`: the same code may be written
    more than once, because a call was lost on the way. `retriggered`: the deliveries that a person
    has retriggered, so that messages about earlier results were true when they were posted.
    """

    zygote: Zygote
    url: str
    options: Options = field(default_factory=Options)
    on_disk: bool = False
    folder: Path = field(init=False)
    record: Record = field(default_factory=Record)
    may_fail: bool = False
    may_repeat: bool = False
    retriggered: set[str] = field(default_factory=set)
    mutant: str = ""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.children: list[Child] = []
        self._local = threading.local()
        parent = None if self.on_disk or not os.access(MEMORY, os.W_OK) else MEMORY
        self.folder = Path(tempfile.mkdtemp(prefix="relay-torture-", dir=parent))
        self.url = self.url or f"sqlite:///{self.folder}/relay.db"
        self.ledger = Ledger(self.url)
        enter = self._stack.enter_context
        self.sandbox = enter(SandboxServer(on_call=self._record_call))
        self.inbox = enter(InboxServer(webhook_secret=WEBHOOK_SECRET))
        self.bucket = enter(Bucket(versioned=self.options.versioned))
        self.configure()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for child in self.children:
            child.kill()
        self._stack.close()
        if kind is None or not os.environ.get("TORTURE_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _record_call(self, call: RecordedCall) -> None:
        self.record.add_call(self.sandbox, call)

    @property
    def path(self) -> Path:
        return self.folder / "relay.toml"

    @property
    def secrets(self) -> dict[str, bytes]:
        """The secrets that no log and no ledger may contain."""
        secrets = {
            "secret_key": self.sandbox.secret_key,
            "iam_password": self.sandbox.iam_password,
            "hook token": HOOK_TOKEN,
            "webhook secret": WEBHOOK_SECRET,
            "file_code": "UEsDB",  # the start of every archive in base64
        }
        return {name: value.encode() for name, value in secrets.items()}

    def configure(self, **changes: Any) -> None:
        """Write relay.toml for the processes that are started from now on."""
        for name, value in changes.items():
            setattr(self.options, name, value)
        self.path.write_text(render(self))

    def start(self, *arguments: str, config: str = "", **order: Any) -> Child:
        """Start a relay command as a process."""
        full_order: Order = {
            "arguments": ["--config", config or str(self.path), *arguments],
            "log": str(self.folder / f"{arguments[0]}.log"),
            "marker": str(self.folder / "marker"),
            "mutant": self.mutant,
            **order,  # type: ignore[typeddict-item]
        }
        child = self.zygote.start(full_order)
        self.children.append(child)
        return child

    def serve(self, *arguments: str, ready: bool = True, port: int = 0, **order: Any) -> Child:
        """Start `relay serve`: gunicorn, with a worker unless `--no-worker` is given."""
        port = port or free_port()
        child = self.start("serve", "--port", str(port), *arguments, **order)
        child.url = f"http://127.0.0.1:{port}"
        if ready:
            wait_until(lambda: is_ready(child.url) or not child.alive, 20, self.log)
        return child

    def work(self, **order: Any) -> Child:
        return self.start("work", **order)

    @property
    def marker(self) -> Path:
        """The file that a child creates when it kills itself at the point."""
        return self.folder / "marker"

    def upload(
        self, function: str, mark: str = "1", *, key: str = "", size: int | None = None
    ) -> Upload:
        """Upload an export to the bucket without a notification."""
        body, digest = export(function, mark, size)
        version = self.bucket.put(key or f"prod/{function}.zip", body)
        return self.record.add_upload(Upload(version, function, digest))

    def hold(self, function: str, mark: str = "0") -> None:
        """Let the target hold a function as if another user had created it."""
        held = self.sandbox.hold(function, code=mark.encode())
        self.record.held.add((function, held.digest))

    def upload_bad(self, name: str, body: bytes) -> Upload:
        version = self.bucket.put(f"prod/{name}.zip", body)
        return self.record.add_upload(Upload(version, name, "", is_good=False))

    def announce(self, url: str, upload: Upload, record: dict[str, Any] | None = None) -> int:
        """Post the notification (or `record`) once. Return the status, or 0 without a response."""
        body = record or upload.version.record()
        try:
            response = self._session().post(f"{url}/hooks/exports", json=body, timeout=10)
        except requests.RequestException:
            return 0
        if response.ok and response.json().get("notification"):
            self.record.mark_accepted(upload)
        return response.status_code

    def announce_all(
        self, url: Callable[[], str], uploads: Iterable[Upload], threads: int = 4
    ) -> None:
        """Post each notification until it is accepted."""

        def announce_until_accepted(upload: Upload) -> None:
            wait_until(lambda: self.announce(url(), upload) == 200, 120, self.log, interval=0.1)

        if threads == 1:  # Stay in this thread, so that the connection is reused.
            for upload in uploads:
                announce_until_accepted(upload)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(announce_until_accepted, uploads))

    def not_accepted(self, uploads: Iterable[Upload]) -> list[Upload]:
        return [upload for upload in uploads if upload.name not in self.record.accepted]

    def announce_at_rate(self, url: str, uploads: Iterable[Upload], rate: float = 10) -> None:
        """Post `rate` notifications per second, so that no queue distorts the measurement."""
        start = monotonic()
        for number, upload in enumerate(uploads):
            sleep(max(start + number / rate - monotonic(), 0))
            self.announce_all(lambda: url, [upload], threads=1)

    def settle(self, within: float = 30, imports: int | None = None) -> None:
        """Wait until `imports` imports and all messages have finished."""
        expected = len(self.record.accepted) if imports is None else imports

        def is_settled() -> bool:
            counts = self.ledger.counts()
            known = sum(number for (kind, _), number in counts.items() if kind == "import")
            waiting = sum(n for (_, state), n in counts.items() if state in ("pending", "running"))
            return known >= expected and not waiting

        wait_until(
            is_settled,
            within,
            lambda: f"{expected} expected: {self.ledger.counts()}\n{self.log()}",
            0.1,
        )

    def wait_for_sandbox(self) -> None:
        """Wait until the sandbox has recorded every call, including delayed responses.

        A call whose sender was killed never finishes, so the wait is limited.
        """
        with suppress(WaitTimeout):
            wait_until(lambda: all(call.finished for call in self.sandbox.calls), 5)

    def log(self) -> str:
        """Return the end of every log, for failure messages."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)

    def adjustable_clock(self) -> tuple[str, Callable[[float], None]]:
        """Return a file for Order.clock, and a function that sets the clock's error in seconds."""
        path = self.folder / "clock"
        path.write_bytes(struct.pack("d", 0.0))

        def set_error(seconds: float) -> None:
            with path.open("r+b") as file:
                file.write(struct.pack("d", seconds))

        return str(path), set_error

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.trust_env = False
            session.headers.update(HEADERS)
            self._local.session = self._stack.enter_context(session)
        session_of_thread: requests.Session = self._local.session
        return session_of_thread


def is_ready(url: str, path: str = "/readyz") -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}{path}", timeout=5).status_code == 200
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], Any],
    within: float = 20.0,
    why: Callable[[], str] = lambda: "",
    interval: float = 0.02,
) -> Any:
    """Wait until the condition is true. Raises WaitTimeout with the text of `why`."""
    end = monotonic() + within
    while monotonic() < end:
        if value := condition():
            return value
        sleep(interval)
    raise WaitTimeout(f"not within {within} s: {why()}")


class WaitTimeout(AssertionError):
    """A condition was not true in time."""
