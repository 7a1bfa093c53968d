"""Real notifications, byte for byte (`case.http`), and what is to be made of them (`case.json`).

A new wire format or a bug report is two files in `<kind>/`. The .json holds `why` (a sentence),
`verdict` (a Verdict, or `unverified`), `events`, `reason` (words in the reason of an unreadable
one) and `settings` (keys of the source that differ from `token = "hook-token"`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from relay.envelope import Envelope
from relay.envelopes import ENVELOPES
from relay.errors import Unverified
from relay.handler import StorageHandler
from relay.intake import Reading, read
from relay.loader import find
from relay.model import Event, Incoming, Json

CASES = sorted(Path(__file__).parent.glob("*/*.http"))
DEFAULTS: dict[str, Json] = {
    "s3": {"endpoint_url": "http://127.0.0.1:9000", "region": "us-east-1"},
    "local": {"folder": "/"},
}
SOURCES = {"local": "inbox"}


Made = Callable[[str, Json], StorageHandler]


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    """Handlers of a kind with some settings; the same again for the same question."""
    every: dict[str, StorageHandler] = {}

    def made(kind: str, keys: Json) -> StorageHandler:
        name = f"{kind} {json.dumps(keys, sort_keys=True)}"
        if name not in every:
            cls: Any = find("handlers", kind)
            table = {"kind": kind, "token": "hook-token", **DEFAULTS.get(kind, {}), **keys}
            source = SOURCES.get(kind, "exports")
            every[name] = cls(source, cls.Settings.model_validate(table))
        return every[name]

    yield made
    for handler in every.values():
        handler.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_it_is_read_as_it_should_be(case: Path, made: Made) -> None:
    expected = json.loads(case.with_suffix(".json").read_text())
    handler = made(case.parent.name, expected.get("settings", {}))
    try:
        reading = received(handler, case.read_bytes())
    except Unverified:
        assert expected["verdict"] == "unverified", expected["why"]
        return
    assert reading.verdict == expected["verdict"], f"{expected['why']}; {reading.reason}"
    assert [told(event) for event in reading.events] == expected.get("events", [])
    assert expected.get("reason", "") in (reading.reason or "")


def test_every_answer_has_its_question() -> None:
    answers = {path.with_suffix("") for path in Path(__file__).parent.glob("*/*.json")}
    assert answers == {path.with_suffix("") for path in CASES}
    assert len(CASES) >= 25


def received(handler: StorageHandler, raw: bytes) -> Reading:
    """As the intake does it: the first envelope that recognises it verifies and unwraps it."""
    incoming = request(handler.name, raw)
    every: list[Envelope] = [ENVELOPES[name](handler.settings) for name in ENVELOPES]
    offered = [one for one in every if one.missing() is None]
    envelope = next((one for one in offered if one.recognises(incoming)), None)
    if envelope is None:
        raise Unverified("hook.unverified", "no envelope is offered")
    envelope.verify(incoming)
    return read(handler, envelope, incoming)


def request(source: str, raw: bytes) -> Incoming:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    assert int(headers["content-length"]) == len(body), "the case was changed by hand"
    parts = urlsplit(target)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    query = dict(parse_qsl(parts.query))
    return Incoming(source, body, now, method=method, path=parts.path, query=query, headers=headers)


def told(event: Event) -> Json:
    ref = event.object
    return {
        "bucket": ref.bucket,
        "key": ref.key,
        "version": ref.version,
        "etag": ref.etag,
        "size": ref.size,
        "identity": event.identity,
        "type": event.type,
        "time": event.time.isoformat() if event.time else None,
        "order": event.order,
    }
