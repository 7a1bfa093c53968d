"""The FunctionGraph sandbox: an honest stand-in for the import API and IAM, on loopback.

It streams bodies of any size in constant memory, checks the token or the signature, keeps what it
was given, and does wrong what it is told to. It was written from the published pages; nothing of it
was compared with the real cloud. Each module says which of its rules are inferred.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self, Unpack

from relay.errors import ConfigError
from relay.model import utc_now
from relay.testing.sandbox.answers import Refused
from relay.testing.sandbox.api import Api, SandboxRules
from relay.testing.sandbox.app import Neighbours, make_app
from relay.testing.sandbox.exchange import Counter
from relay.testing.sandbox.faults import Fault, FaultFields, FaultQueue, make_fault
from relay.testing.sandbox.gateway import Gateway
from relay.testing.sandbox.iam import Iam, User
from relay.testing.sandbox.keys import Key, KeyRing
from relay.testing.sandbox.links import Links
from relay.testing.sandbox.metadata import Metadata
from relay.testing.sandbox.server import ListenAddress, LoopbackServer
from relay.testing.sandbox.state import Account, Files, Function, Ledger, RecordedCall, Tenant

_HEX = secrets.token_hex


@dataclass(kw_only=True, eq=False)
class SandboxServer:
    """Serves at `url` while entered (or from start() to close()).

    `max_size` (bytes of a zip), `gateway_limit` (bytes of a body signed by AK/SK), `quota` (how
    many functions), `agency_life` (of keys that the metadata service gives; None: no agency),
    `metadata_version` (1 or 2), `one_at_a_time` (a second import meanwhile is 429),
    `names_must_match` (func_name must be the YAML's), `digest_of` (what is shown for code of that
    SHA-512, hex: the SHA-512 itself), `on_call` (told of every finished call).
    """

    host: str = "127.0.0.1"
    port: int = 0
    allow_remote: bool = False
    project_id: str = field(default_factory=lambda: _HEX(16))
    region: str = "cn-north-4"
    access_key: str = field(default_factory=lambda: "AK" + _HEX(9).upper())
    secret_key: str = field(default_factory=lambda: _HEX(20), repr=False)
    security_token: str = field(default="", repr=False)
    iam_user: str = "relay"
    iam_password: str = field(default_factory=lambda: _HEX(12), repr=False)
    iam_domain: str = "sandbox"
    token_life: timedelta = timedelta(hours=24)
    agency_life: timedelta | None = None
    metadata_version: int = 2
    max_size: int = 300 * 2**20
    gateway_limit: int = 12_000_000
    quota: int | None = None
    one_at_a_time: bool = False
    names_must_match: bool = False
    digest_of: Callable[[str], str] = str
    clock: Callable[[], datetime] = utc_now
    on_call: Callable[[RecordedCall], None] | None = None

    def __post_init__(self) -> None:
        self.faults = FaultQueue()
        self._ledger = Ledger()
        self._tenant = Tenant(self.quota)
        user = User(self.iam_user, self.iam_password, self.iam_domain, self.region, self.project_id)
        self._iam = Iam(user, self.token_life, self.clock)
        own = Key(self.access_key, self.secret_key, self.security_token)
        self._keys = KeyRing(own, self.clock)
        self._server: LoopbackServer | None = None
        self._api: Api | None = None
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The endpoint of FunctionGraph and of IAM, known from start() on."""
        if self._server is None:
            raise RuntimeError("the sandbox was not started")
        return self._server.url

    @property
    def functions(self) -> dict[str, Function]:
        """What is held now, by name."""
        return self._tenant.snapshot()

    @property
    def calls(self) -> list[RecordedCall]:
        """Every call so far, those under way included (not `finished`)."""
        return self._ledger.snapshot()

    @property
    def imports(self) -> list[RecordedCall]:
        """The effective ones: imports that made a function, whatever was answered."""
        return [call for call in self.calls if call.operation == "import" and call.applied]

    def fault(self, **fields: Unpack[FaultFields]) -> Fault:
        """Queues what shall go wrong; the fields are those of `Fault`. Raises ConfigError."""
        fault = make_fault(fields)
        self.faults.add(fault)
        return fault

    def hold(self, name: str, *, package: str = "default", code: bytes) -> Function:
        """Puts a function there that somebody else made. Raises ConfigError for a bad name."""
        if self._api is None:
            raise RuntimeError("the sandbox was not started")
        try:
            return self._api.hold(name, package, code)
        except Refused as refused:
            raise ConfigError("hold", str((refused.answer.body or {}).get("error_msg"))) from None

    def issue_token(self) -> str:
        """A token for the project, as IAM would give it."""
        return self._iam.issue(self.region)[0]

    def expire_tokens(self) -> None:
        """Every token given so far must be renewed (401 APIGW.0307)."""
        self._iam.expire_all()

    def end_agency_keys(self) -> None:
        """Every key that the metadata service gave is refused; it gives another one."""
        self._keys.end_lent()

    def start(self) -> None:
        """Raises ConfigError for an address that others can reach, OSError for a port in use."""
        self._folder = Path(tempfile.mkdtemp(prefix="relay-sandbox-"))
        try:
            self._server = self._serve(self._folder)
        except BaseException:
            self.close()
            raise
        self._server.start()

    def close(self) -> None:
        """Ends connections and threads, and removes the code that was kept. Safe to repeat."""
        if self._server is not None:
            self._server.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._server = self._api = self._folder = None

    def _serve(self, folder: Path) -> LoopbackServer:
        account, files = (
            Account(self.project_id, self.region, digest_of=self.digest_of),
            Files(folder),
        )
        links = Links(files, lambda key: f"{self.url}/code/{key}")
        rules = SandboxRules(self.max_size, self.names_must_match, self.one_at_a_time)
        self._api = Api(account, rules, self._tenant, files, self.clock, links)
        gateway = Gateway(self._keys, self._iam, self.gateway_limit, self.clock)
        metadata = Metadata(self._keys, self.agency_life, self.metadata_version)
        stopping = threading.Event()
        counter = Counter(gateway, self.faults, self._ledger, stopping, self.clock, self.on_call)
        app = make_app(self._api, Neighbours(self._iam, metadata), counter, self)
        place = ListenAddress(self.host, self.port, self.allow_remote)
        return LoopbackServer(app, place, stopping)
