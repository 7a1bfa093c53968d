"""Log lines: the format, and secrets that are never in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from _pytest.logging import LogCaptureHandler
from hypothesis import given
from hypothesis import strategies as st

from relay.app.logging import configure
from relay.config.log_context import request_id
from relay.config.redaction import HIDDEN, Redactor, hide

log = logging.getLogger("relay.test")
SECRET = "p/ss word+1'\"é"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """The JSON lines logged since the test began."""
    stream = io.StringIO()
    configure(stream, secrets=[SECRET, "ab"])
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def terminal() -> Terminal:
    stream = Terminal()
    configure(stream, secrets=[SECRET])
    return stream


def test_what_is_found_after_the_start_is_hidden_too(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    log.info("before found-l8er")
    hide("found-l8er", "")
    log.info("after found-l8er")
    hide(*(f"token-{number}" for number in range(200)))
    log.info("the last token-199, and %s", SECRET)
    assert [line["event"] for line in lines()] == [
        "before found-l8er",
        f"after {HIDDEN}",
        f"the last {HIDDEN}, and {HIDDEN}",
    ]


def crash(words: str) -> None:
    try:
        raise_(words)
    except RuntimeError:
        log.exception("crashed")


def raise_(words: str) -> None:
    raise RuntimeError(words)


def test_a_line_is_an_event_with_its_fields(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("delivery succeeded", extra={"delivery": "01", "attempt": 3, "due": None})
    (line,) = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "relay.test",
        "event": "delivery succeeded",
        "delivery": "01",
        "attempt": 3,
        "due": None,
    }


def test_a_line_knows_the_request_it_belongs_to(lines: Callable[[], list[dict[str, Any]]]) -> None:
    token = request_id.set("req-1")
    log.info("inside")
    request_id.reset(token)
    log.info("outside")
    inside, outside = lines()
    assert inside["request"] == "req-1"
    assert "request" not in outside


def test_an_exception_comes_with_its_traceback(lines: Callable[[], list[dict[str, Any]]]) -> None:
    crash("no luck")
    assert lines()[0]["traceback"].endswith("RuntimeError: no luck")


def test_a_field_cannot_pose_as_the_event(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("real", extra={"event": "forged", "level": "forged"})
    assert (lines()[0]["event"], lines()[0]["level"]) == ("real", "info")


def test_a_secret_is_in_no_part_of_a_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("message %s", SECRET, extra={"one": SECRET, "deep": {"list": [SECRET], SECRET: 1}})
    log.info("escaped %r and %s", SECRET, json.dumps(SECRET))
    log.info("quoted %s", "https://x/?a=p%2Fss%20word%2B1%27%22%C3%A9")
    crash(SECRET)
    assert len(lines()) == 4
    assert "ss word" not in str(lines())
    assert "ss%20word" not in str(lines())


def test_a_very_short_secret_does_not_garble_other_text(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    log.info("about tables")
    assert lines()[0]["event"] == "about tables"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("GET https://b.s3/k?X-Amz-Signature=abc123&X-Amz-Expires=60 HTTP/1.1", "abc123"),
        ("https://b.s3/k?X-Amz-Credential=AKIA123/2026&versionId=7", "AKIA123"),
        ("https://b.oss/k?OSSAccessKeyId=AK9&Signature=Zm9v%3D", "Zm9v"),
        ("https://a.blob/k?sv=2020&sig=Zm9vYmFy", "Zm9vYmFy"),
        ("POST /hooks/exports?token=hook-token", "hook-token"),
        ("https://oapi.dingtalk.com/robot/send?access_token=d1ng&sign=x9", "d1ng"),
        ("Authorization: Bearer abc.def-ghi", "abc.def"),
        ("{'Authorization': 'SDK-HMAC-SHA256 Access=AK1, Signature=abc123'}", "abc123"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', "dXNlcjpwYXNz"),
        ("{b'Authorization': b'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
        ("sent Bearer abcdefgh to them", "abcdefgh"),
        ("X-Auth-Token: MIIabc", "MIIabc"),
        ("postgresql://relay:hunter22@db/relay", "hunter22"),
    ],
)
def test_unregistered_credentials_are_hidden_too(text: str, gone: str) -> None:
    redacted = Redactor().text(text)
    assert gone not in redacted
    assert HIDDEN in redacted


@pytest.mark.parametrize(
    ("url", "line", "gone"),
    [
        (
            "https://hooks.slack.com/services/T0AAAA/B0BBBB/s3cret-word-here",
            "headers (url=https://hooks.slack.com:443/services/T0AAAA/B0BBBB/s3cret-word-here): x",
            "s3cret",
        ),
        (
            "https://x.example/send?k=abcdefgh",
            "Max retries exceeded with url: /send?k=abcdefgh",
            "abcdefgh",
        ),
        ("tgram://123456:AAbbCCddEEff/chat", "POST /bot123456:AAbbCCddEEff/sendMessage", "AAbb"),
    ],
)
def test_a_part_of_an_address_that_is_a_secret_is_hidden(url: str, line: str, gone: str) -> None:
    redacted = Redactor([url]).text(line)
    assert gone not in redacted
    assert HIDDEN in redacted


def test_plain_words_of_an_address_stay() -> None:
    text = "POST /hooks/relay for https://team.example"
    assert Redactor(["https://team.example/hooks/relay"]).text(text) == text


def test_what_is_no_secret_stays() -> None:
    for text in (
        "GET https://b.s3/k?versionId=7&partNumber=1",
        "the author wrote a token ring",
        "delivery succeeded",
        "mail to a@b.example",
        "https://relay.example.com?mail=a@b.example",
    ):
        assert Redactor().text(text) == text


def test_a_field_named_like_a_secret_is_hidden(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log.info("sent", extra={"headers": {"Authorization": "xyz 1", "Date": "today"}})
    assert lines()[0]["headers"] == {"Authorization": HIDDEN, "Date": "today"}


def test_a_terminal_gets_text_on_one_line(terminal: Terminal) -> None:
    log.warning("key %s", "a\nb\x1b[31m\u202ec", extra={"delivery": "01", "reason": None})
    (line,) = terminal.getvalue().splitlines()
    assert line.endswith(r"warning  key a\nb\u001b[31m\u202ec delivery=01")


def test_a_terminal_gets_tracebacks_without_secrets(terminal: Terminal) -> None:
    crash(SECRET)
    assert "Traceback" in terminal.getvalue()
    assert "ss word" not in terminal.getvalue()


def test_a_lone_surrogate_breaks_no_line(
    lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest-xdist cannot send what pytest itself would keep of this line.
    root = logging.getLogger()
    ours = [one for one in root.handlers if not isinstance(one, LogCaptureHandler)]
    monkeypatch.setattr(root, "handlers", ours)
    log.info("key %s", "\udcff", extra={"key": "\ud800"})
    assert lines()[0]["key"] == "\ud800"


def test_configuring_again_replaces_what_was_there() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(first)
    configure(second, level=logging.WARNING)
    log.info("too quiet")
    log.warning("heard")
    assert first.getvalue() == ""
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["heard"]


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    if secret not in HIDDEN and secret not in before + HIDDEN + after:
        assert secret not in Redactor([secret]).text(f"{before}{secret}{after}")
