"""What really happened, written down beside the relay: what was sent, accepted, applied, told."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from relay.model import utc_now
from relay.testing.sandbox.exports import CODE_FILE, make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.state import RecordedCall
from tests.torture.bucket import Version

CHANGES = ("import", "update_code")
"""Calls that bring code; update_config alone brings none."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One object version, the function that it holds, and the SHA-512 of its code."""

    version: Version
    function: str
    digest: str
    is_good: bool = True

    @property
    def name(self) -> tuple[str, str]:
        return self.version.key, self.version.id or self.version.etag


@dataclass(frozen=True, slots=True)
class Applied:
    """A call that changed a function at the sandbox; `digest` is what it held afterwards."""

    function: str
    digest: str
    operation: str
    at: datetime


@dataclass
class Record:
    """Shared by everything in a world; thread-safe."""

    uploads: dict[tuple[str, str], Upload] = field(default_factory=dict)
    accepted: dict[tuple[str, str], int] = field(default_factory=dict)
    applied: list[Applied] = field(default_factory=list)
    import_calls: list[tuple[datetime, str | None, int | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def uploaded(self, upload: Upload) -> Upload:
        with self._lock:
            self.uploads[upload.name] = upload
        return upload

    def took(self, upload: Upload) -> None:
        """A 2xx for the notification of that upload."""
        with self._lock:
            self.accepted[upload.name] = self.accepted.get(upload.name, 0) + 1

    def called(self, sandbox: SandboxServer, call: RecordedCall) -> None:
        if call.operation not in CHANGES:
            return
        with self._lock:
            self.import_calls.append((call.time, call.function, call.status))
        held = sandbox.functions.get(call.function or "")
        if call.applied and held is not None:
            one = Applied(held.name, held.digest, call.operation, utc_now())
            with self._lock:
                self.applied.append(one)

    def effective(self) -> dict[tuple[str, str], int]:
        """How often each code came into each function."""
        counted: dict[tuple[str, str], int] = {}
        with self._lock:
            for one in self.applied:
                name = one.function, one.digest
                counted[name] = counted.get(name, 0) + 1
        return counted


def export(function: str, mark: str, size: int | None = None, **more: Any) -> tuple[bytes, str]:
    """An export and the SHA-512 of its code; another `mark` is other code."""
    text = f"def handler(event, context):\n    return {mark!r}\n".encode()
    body = make_export(function, code={"index.py": text}, code_size=size, **more)
    with zipfile.ZipFile(io.BytesIO(body)) as opened:
        return body, hashlib.sha512(opened.read(CODE_FILE)).hexdigest()
