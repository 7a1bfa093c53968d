"""Bare records: a storage's own JSON, unsigned; a token proves the sender."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from relay.envelope import Envelope
from relay.errors import Unreadable, Unverified
from relay.model import Incoming, Text

DEEPEST = 64
"""Levels of nesting that we read; no storage's record has ten."""


class Bare(Envelope):
    """JSON records without any wrapping: an object with `Records`, a list, or one record."""

    name = "bare"

    def missing(self) -> str | None:
        return None if self._token() else "token"

    def recognises(self, incoming: Incoming) -> bool:  # noqa: ARG002 - it is what no other one is
        """Always: even garbage from a verified sender is kept. So it is asked last."""
        return True

    def verify(self, incoming: Incoming) -> None:
        """The token as `Authorization: Bearer`, as user or password of `Basic`, as the header's
        whole value (MinIO's rule for tokens of two words), or as `?token=`."""
        token = self._token()
        offered = list(_credentials(incoming))
        known = [hmac.compare_digest(token, one) for one in offered]
        if not token or not any(known):
            raise Unverified(
                "hook.unverified",
                "The sender did not show the source's token",
                "Send it as `Authorization: Bearer TOKEN` or as `?token=TOKEN`.",
            )

    def unwrap(self, body: bytes) -> Iterator[Mapping[str, Any]]:
        """The records of the body, each an object."""
        found = decode(body)
        records = found.get("Records", found) if isinstance(found, dict) else found
        for record in records if isinstance(records, list) else [records]:
            if not isinstance(record, dict):
                raise _not("a record should be an object", "记录应为对象")
            yield record
        if records == []:
            raise _not("there is no record in it", "其中没有记录")

    def _token(self) -> bytes:
        token = self.settings.token
        return token.get_secret_value().encode() if token else b""


def decode(body: bytes) -> Any:
    """The JSON in a body from outside; Unreadable when it is none, or too deep to be honest."""
    try:
        found = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _not("it is not UTF-8", "不是 UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _not("it is not JSON", "不是 JSON") from error
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return found
    raise _not(f"it is nested deeper than {DEEPEST} levels", f"嵌套超过 {DEEPEST} 层")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _not(en: str, zh: str) -> Unreadable:
    return Unreadable(
        "notification.unreadable",
        Text(f"The notification cannot be read: {en}", f"无法读取该通知: {zh}"),
    )


def _credentials(incoming: Incoming) -> Iterator[bytes]:
    header = incoming.headers.get("authorization", "").encode("latin-1", "replace")
    scheme, _, rest = header.partition(b" ")
    yield header
    if scheme.lower() == b"bearer":
        yield rest.strip()
    if scheme.lower() == b"basic":
        with contextlib.suppress(binascii.Error):
            yield from base64.b64decode(rest, validate=True).split(b":", 1)
    yield incoming.query.get("token", "").encode("utf-8", "surrogatepass")
