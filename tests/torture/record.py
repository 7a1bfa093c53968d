"""An independent record of a run: uploads, accepted notifications, and calls to the sandbox."""

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
"""Calls that upload code."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An object version, the function in it, and the SHA-512 of the code."""

    version: Version
    function: str
    digest: str
    is_good: bool = True

    @property
    def name(self) -> tuple[str, str]:
        return self.version.key, self.version.id or self.version.etag


@dataclass(frozen=True, slots=True)
class Applied:
    """A call that changed a function in the sandbox. `digest`: the code after the call."""

    function: str
    digest: str
    operation: str
    at: datetime


@dataclass
class Record:
    """The record of a world; thread-safe. `held`: functions and digests of other users."""

    uploads: dict[tuple[str, str], Upload] = field(default_factory=dict)
    accepted: dict[tuple[str, str], int] = field(default_factory=dict)
    held: set[tuple[str, str]] = field(default_factory=set)
    applied: list[Applied] = field(default_factory=list)
    import_calls: list[tuple[datetime, str | None, int | None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_upload(self, upload: Upload) -> Upload:
        with self._lock:
            self.uploads[upload.name] = upload
        return upload

    def mark_accepted(self, upload: Upload) -> None:
        """Count a 2xx for the notification of the upload."""
        with self._lock:
            self.accepted[upload.name] = self.accepted.get(upload.name, 0) + 1

    def add_call(self, sandbox: SandboxServer, call: RecordedCall) -> None:
        if call.operation not in CHANGES:
            return
        with self._lock:
            self.import_calls.append((call.time, call.function, call.status))
        function = sandbox.functions.get(call.function or "")
        if call.applied and function is not None:
            change = Applied(function.name, function.digest, call.operation, utc_now())
            with self._lock:
                self.applied.append(change)

    def effective(self) -> dict[tuple[str, str], int]:
        """Count how often each code was imported into each function."""
        counts: dict[tuple[str, str], int] = {}
        with self._lock:
            for change in self.applied:
                name = change.function, change.digest
                counts[name] = counts.get(name, 0) + 1
        return counts


def export(function: str, mark: str, size: int | None = None, **more: Any) -> tuple[bytes, str]:
    """Create an export; return it and the SHA-512 of the code, which depends on `mark`."""
    text = f"def handler(event, context):\n    return {mark!r}\n".encode()
    body = make_export(function, code={"index.py": text}, code_size=size, **more)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return body, hashlib.sha512(archive.read(CODE_FILE)).hexdigest()
