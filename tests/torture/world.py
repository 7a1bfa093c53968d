"""A world: store, sandbox, inbox and a ledger around as many relays as a scenario wants."""

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
from tests.torture.configuration import HOOK_TOKEN, WEBHOOK_SECRET, Options, written
from tests.torture.ledger import Ledger
from tests.torture.record import Record, Upload, export

relay.testing.sandbox.inbox.MAX_KEPT = 10**7  # the judge needs all of them
HEADERS = {"Authorization": f"Bearer {HOOK_TOKEN}"}
MEMORY = Path("/dev/shm")
BY_RANGES = {"relay.delivery.prefetch:MAX_SIZE": 0}
"""Has objects of any size read as big ones are: by ranges, while they are passed on."""


@dataclass
class World:
    """Everything around the relay. `may_fail`: good archives may fail in this scenario."""

    zygote: Zygote
    url: str
    options: Options = field(default_factory=Options)
    on_disk: bool = False
    folder: Path = field(init=False)
    record: Record = field(default_factory=Record)
    may_fail: bool = False

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.children: list[Child] = []
        self._local = threading.local()
        where = None if self.on_disk or not os.access(MEMORY, os.W_OK) else MEMORY
        self.folder = Path(tempfile.mkdtemp(prefix="relay-torture-", dir=where))
        self.url = self.url or f"sqlite:///{self.folder}/relay.db"
        self.ledger = Ledger(self.url)
        enter = self._stack.enter_context
        self.sandbox = enter(SandboxServer(on_call=self._called))
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

    def _called(self, call: RecordedCall) -> None:
        self.record.called(self.sandbox, call)

    @property
    def path(self) -> Path:
        return self.folder / "relay.toml"

    @property
    def secrets(self) -> dict[str, bytes]:
        """What may stand in no log and in no ledger."""
        own = {
            "secret_key": self.sandbox.secret_key,
            "iam_password": self.sandbox.iam_password,
            "hook token": HOOK_TOKEN,
            "webhook secret": WEBHOOK_SECRET,
            "file_code": "UEsDB",  # the base64 of every archive begins so
        }
        return {name: value.encode() for name, value in own.items()}

    def configure(self, **changes: Any) -> None:
        """Writes relay.toml; processes started from now on read it."""
        for name, value in changes.items():
            setattr(self.options, name, value)
        self.path.write_text(written(self))

    def start(self, *arguments: str, config: str = "", **order: Any) -> Child:
        """Any relay command as a process of its own."""
        whole: Order = {
            "arguments": ["--config", config or str(self.path), *arguments],
            "log": str(self.folder / f"{arguments[0]}.log"),
            "marker": str(self.folder / "marker"),
            **order,  # type: ignore[typeddict-item]
        }
        child = self.zygote.start(whole)
        self.children.append(child)
        return child

    def serve(self, *arguments: str, ready: bool = True, port: int = 0, **order: Any) -> Child:
        """`relay serve`: gunicorn, with the worker in it unless `--no-worker`."""
        port = port or free_port()
        child = self.start("serve", "--port", str(port), *arguments, **order)
        child.url = f"http://127.0.0.1:{port}"
        if ready:
            until(lambda: answers(child.url) or not child.alive, 20, self.log)
        return child

    def work(self, **order: Any) -> Child:
        return self.start("work", **order)

    @property
    def marker(self) -> Path:
        """Is there once a child has killed itself at its point."""
        return self.folder / "marker"

    def upload(
        self, function: str, mark: str = "1", *, key: str = "", size: int | None = None
    ) -> Upload:
        """Puts an export into the bucket; nobody was told of it yet."""
        body, digest = export(function, mark, size)
        version = self.bucket.put(key or f"prod/{function}.zip", body)
        return self.record.uploaded(Upload(version, function, digest))

    def bad_upload(self, name: str, body: bytes) -> Upload:
        version = self.bucket.put(f"prod/{name}.zip", body)
        return self.record.uploaded(Upload(version, name, "", is_good=False))

    def announce(self, url: str, upload: Upload, record: dict[str, Any] | None = None) -> int:
        """Posts the notification once (or that `record`); the status, 0: no answer."""
        told = record or upload.version.record()
        try:
            answer = self._session().post(f"{url}/hooks/exports", json=told, timeout=10)
        except requests.RequestException:
            return 0
        if answer.ok and answer.json().get("notification"):
            self.record.took(upload)
        return answer.status_code

    def tell(self, url: Callable[[], str], uploads: Iterable[Upload], threads: int = 4) -> None:
        """Announces each until it is accepted, as a patient sender does."""

        def patiently(upload: Upload) -> None:
            until(lambda: self.announce(url(), upload) == 200, 120, self.log, nap=0.1)

        if threads == 1:  # in this thread, whose connection stays: a new one would open another
            for upload in uploads:
                patiently(upload)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(patiently, uploads))

    def tell_slowly(self, url: str, uploads: Iterable[Upload], rate: float = 10) -> None:
        """So many a second: what is measured then is a delivery, and no queue."""
        begin = monotonic()
        for number, upload in enumerate(uploads):
            sleep(max(begin + number / rate - monotonic(), 0))
            self.tell(lambda: url, [upload], threads=1)

    def settle(self, within: float = 30, imports: int | None = None) -> None:
        """Waits until that many imports, and all messages, ended."""
        wanted = len(self.record.accepted) if imports is None else imports

        def over() -> bool:
            counts = self.ledger.counts()
            there = sum(number for (kind, _), number in counts.items() if kind == "import")
            waiting = sum(n for (_, state), n in counts.items() if state in ("pending", "running"))
            return there >= wanted and not waiting

        until(over, within, lambda: f"{wanted} wanted: {self.ledger.counts()}\n{self.log()}", 0.1)

    def quiet(self) -> None:
        """Waits until the sandbox has written down every call: some it answers late on purpose.

        A call whose sender was killed never ends, so it waits no longer than such answers take.
        """
        with suppress(TooLate):
            until(lambda: all(call.finished for call in self.sandbox.calls), 5)

    def log(self) -> str:
        """The end of every log, for whom it may concern."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{one.name}: {one.read_text(errors='replace')[-1500:]}" for one in logs)

    def wrong_clock(self) -> tuple[str, Callable[[float], None]]:
        """A file for Order.clock, and how to turn that clock, in seconds."""
        path = self.folder / "clock"
        path.write_bytes(struct.pack("d", 0.0))

        def turn(seconds: float) -> None:
            with path.open("r+b") as file:
                file.write(struct.pack("d", seconds))

        return str(path), turn

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.trust_env = False
            session.headers.update(HEADERS)
            self._local.session = self._stack.enter_context(session)
        made: requests.Session = self._local.session
        return made


def answers(url: str, path: str = "/readyz") -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"{url}{path}", timeout=5).status_code == 200
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until(
    condition: Callable[[], Any],
    within: float = 20.0,
    why: Callable[[], str] = lambda: "",
    nap: float = 0.02,
) -> Any:
    """Waits until the condition holds; fails with what `why` says when it does not in time."""
    end = monotonic() + within
    while monotonic() < end:
        if found := condition():
            return found
        sleep(nap)
    raise TooLate(f"not within {within} s: {why()}")


class TooLate(AssertionError):
    """What had to come did not come in time."""
