"""The FunctionGraph sandbox: an emulator of the import API and IAM on loopback.

It streams bodies of any size in constant memory, checks tokens and signatures, stores functions and
simulates faults. It follows the published documentation and was not compared with the real cloud.
Each module lists the rules that are inferred.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from flask import Flask

from relay.errors import ConfigError
from relay.model import utc_now
from relay.testing.sandbox.api import FunctionGraphApi
from relay.testing.sandbox.app import make_app
from relay.testing.sandbox.exchange import Dispatcher
from relay.testing.sandbox.gateway import Gateway
from relay.testing.sandbox.iam import AccessKey, Iam, KeyRing, User
from relay.testing.sandbox.metadata import MetadataService
from relay.testing.sandbox.replies import RequestRefused
from relay.testing.sandbox.server import FaultyServer
from relay.testing.sandbox.state import Account, CodeFiles, Function, Links, RecordedCall, Tenant

_HEX = secrets.token_hex


@dataclass(kw_only=True, eq=False)
class SandboxServer(FaultyServer):
    """The sandbox. `url` is the endpoint of FunctionGraph, IAM and the metadata service.

    max_size          maximum size of a zip in bytes
    gateway_limit     maximum size in bytes of a body that is signed with AK/SK
    quota             maximum number of functions
    agency_life       validity of keys from the metadata service; None: the server has no agency
    metadata_version  1 or 2
    one_at_a_time     respond to concurrent imports with 429
    names_must_match  require that func_name equals the name in the YAML
    digest_of         maps the SHA-512 (hex) of code to the reported digest
    on_call           called after every call
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
        super().__init__()
        self._calls: list[RecordedCall] = []
        self._tenant = Tenant(self.quota)
        user = User(self.iam_user, self.iam_password, self.iam_domain, self.region, self.project_id)
        self._iam = Iam(user, self.token_life, self.clock)
        permanent = AccessKey(self.access_key, self.secret_key, self.security_token)
        self._keys = KeyRing(permanent, self.clock)
        self._api: FunctionGraphApi | None = None
        self._folder: Path | None = None

    @property
    def functions(self) -> dict[str, Function]:
        """The current functions by name."""
        return self._tenant.snapshot()

    @property
    def calls(self) -> list[RecordedCall]:
        """All calls so far, including unfinished calls."""
        return [replace(call) for call in tuple(self._calls)]

    @property
    def imports(self) -> list[RecordedCall]:
        """The import calls that created a function, regardless of the response."""
        return [call for call in self.calls if call.operation == "import" and call.applied]

    def hold(
        self, name: str, *, package: str = "default", code: bytes, **config: object
    ) -> Function:
        """Add a function as if another user had created it. Raises ConfigError for a bad name.

        `config`: settings by the field names of the API, also such as Relay does not know.
        """
        try:
            return self._started().hold(name, package, code, config)
        except RequestRefused as refused:
            raise ConfigError("hold", str((refused.reply.body or {}).get("error_msg"))) from None

    def configure(self, name: str, **config: object) -> Function:
        """Change settings of a function as if another user had done it."""
        return self._started().configure(name, config)

    def _started(self) -> FunctionGraphApi:
        if self._api is None:
            raise RuntimeError("the sandbox was not started")
        return self._api

    def issue_token(self) -> str:
        """Issue a token for the project like IAM."""
        return self._iam.issue(self.region)[0]

    def expire_tokens(self) -> None:
        """Expire all tokens (401 APIGW.0307)."""
        self._iam.expire_all()

    def expire_agency_keys(self) -> None:
        """Expire all keys from the metadata service, which then issues a new key."""
        self._keys.expire_temporary()

    def start(self) -> None:
        try:
            super().start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close connections, end threads and delete stored code. Can be called again."""
        super().close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._api = self._folder = None

    def _application(self) -> Flask:
        account = Account(self.project_id, self.region, digest_of=self.digest_of)
        self._folder = Path(tempfile.mkdtemp(prefix="relay-sandbox-"))
        files = CodeFiles(self._folder)
        links = Links(files, lambda key: f"{self.url}/code/{key}")
        self._api = FunctionGraphApi(
            account,
            self._tenant,
            files,
            self.clock,
            links,
            max_size=self.max_size,
            names_must_match=self.names_must_match,
            one_at_a_time=self.one_at_a_time,
        )
        gateway = Gateway(self._keys, self._iam, self.gateway_limit, self.clock)
        metadata = MetadataService(self._keys, self.agency_life, self.metadata_version)
        dispatcher = Dispatcher(
            gateway, self.faults, self._calls, self.stopping, self.clock, self.on_call
        )
        return make_app(self._api, self._iam, metadata, dispatcher)
