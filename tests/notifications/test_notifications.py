"""Real notifications, byte for byte (`case.http`), and the expected results (`case.json`).

A new wire format or a bug report is two files in `<kind>/`. The .json contains `why` (a sentence),
`verdict` (a Verdict, or `unverified`), `events`, `reason` (a part of the reason if unreadable) and
`settings` (keys of the source other than `token = "hook-token"`; `accept` has the default of the
kind). Signatures are checked with `certificates/`, as of 2026-01-01.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from relay.errors import TemporaryFailure, Unverified
from relay.intake.intake import ParsedNotification, build_envelopes, parse
from relay.model import Event, Incoming, Json, Verdict
from relay.plugins import find, known
from relay.sources.contract import StorageHandler
from tests.every_kind import KINDS as DEFAULTS

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.http"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCES = {"local": "inbox"}

Made = Callable[[str, Json], StorageHandler]


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    """make(kind, keys) -> a handler; the same handler for the same arguments."""
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
def test_a_case_has_the_expected_result(case: Path, made: Made) -> None:
    expected = json.loads(case.with_suffix(".json").read_text())
    handler = made(case.parent.name, expected.get("settings", {}))
    try:
        reading = received(handler, case.read_bytes())
    except Unverified:
        assert expected["verdict"] == "unverified", expected["why"]
        return
    assert reading.verdict == expected["verdict"], f"{expected['why']}; {reading.reason}"
    assert [as_json(event) for event in reading.events] == expected.get("events", [])
    assert expected.get("reason", "") in (reading.reason or "")


def test_every_result_has_a_case() -> None:
    answers = {path.with_suffix("") for path in HERE.glob("*/*.json")}
    assert answers == {path.with_suffix("") for path in CASES}
    assert len(CASES) >= 120


def test_every_kind_has_accepted_and_unreadable_cases() -> None:
    for kind in known("handlers"):
        verdicts = {
            json.loads(case.with_suffix(".json").read_text())["verdict"]
            for case in CASES
            if case.parent.name == kind
        }
        assert {"accepted", "unreadable"} <= verdicts, kind


def received(handler: StorageHandler, raw: bytes) -> ParsedNotification:
    """Read a request as the intake does: by the first envelope that recognises it."""
    incoming = request(handler.name, raw)
    offered = [
        envelope
        for envelope in build_envelopes(handler.settings, fetch)
        if envelope.missing_setting() is None
    ]
    envelope = next((item for item in offered if item.recognises(incoming)), None)
    if envelope is None:
        raise Unverified("hook.unverified", "no envelope is offered")
    envelope.verify(incoming)
    if envelope.answer(incoming) is not None:
        return ParsedNotification((), Verdict.HANDSHAKE)
    return parse(handler, envelope, incoming)


def fetch(url: str) -> bytes:
    """The certificate at a URL, or an empty body for a confirmation URL."""
    path = HERE / "certificates" / urlsplit(url).path.rpartition("/")[2]
    if path.suffix == ".pem" and not path.is_file():
        raise TemporaryFailure("fetch.refused", "there is no such certificate")
    return path.read_bytes() if path.suffix == ".pem" else b""


def request(source: str, raw: bytes) -> Incoming:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(": ") for line in lines)
    headers = {name.lower(): value for name, _, value in pairs}
    assert int(headers["content-length"]) == len(body), "the case was changed by hand"
    path, _, query = target.partition("?")
    return Incoming(
        source,
        body,
        NOW,
        method=method,
        path=path,
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=headers,
        raw_query=query,
    )


def as_json(event: Event) -> Json:
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
