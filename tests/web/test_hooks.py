"""Where storages post: over real sockets."""

import http.client
import json
import socket
import sqlite3
from urllib.parse import urlsplit

import pytest
import requests

from tests.web.web_ledger import HOOK
from tests.web.web_server import serving

BODY = json.dumps({"objects": [{"key": "prod/hello.zip", "etag": "e1"}]}).encode()
KNOWN = {"Authorization": HOOK}


@pytest.fixture
def url(web):
    with serving(web.app) as url:
        yield url


def chunked(url, chunks, *, end=b"0\r\n\r\n", path="/hooks/exports"):
    """Posts with Transfer-Encoding: chunked over a bare socket; the answer's status and body."""
    place = urlsplit(url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {HOOK}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((place.hostname, place.port), timeout=10) as wire:
        wire.sendall(head.encode())
        for chunk in chunks:
            wire.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        wire.sendall(end)
        wire.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        return answer.status, answer.read()


def test_a_notification_is_stored_before_the_answer(web, url):
    answer = requests.post(f"{url}/hooks/exports", data=BODY, headers=KNOWN, timeout=10)
    assert answer.status_code == 200
    assert answer.json().keys() == {"notification", "events"}
    assert answer.json()["events"] == 1
    stored = web.ledger.history.notification(answer.json()["notification"])
    assert stored.body == BODY
    assert stored.path == "/hooks/exports"


def test_the_desk_hears_the_request_as_it_was_sent(web, url):
    body = b'\xff\x00 not text \r\n{"a": 1}'
    requests.post(
        f"{url}/hooks/exports?token=one&token=two&x=%20y",
        data=body,
        headers={**KNOWN, "X-Amz-Sns-Message-Type": "Notification", "Content-Type": "text/plain"},
        timeout=10,
    )
    (heard,) = web.intake.received
    assert heard.body == body
    assert heard.method == "POST"
    assert heard.path == "/hooks/exports"
    assert heard.query == {"token": "one", "x": " y"}
    assert heard.headers["x-amz-sns-message-type"] == "Notification"
    assert heard.headers["content-type"] == "text/plain"
    assert all(name == name.lower() for name in heard.headers)


def test_a_form_body_is_not_parsed_away(web, url):
    headers = {**KNOWN, "Content-Type": "application/x-www-form-urlencoded"}
    requests.post(f"{url}/hooks/exports", data=BODY, headers=headers, timeout=10)
    assert web.intake.received[0].body == BODY


def test_what_cannot_be_understood_is_kept_and_answered_200(web, url):
    answer = requests.post(f"{url}/hooks/exports", data=b"\xfe", headers=KNOWN, timeout=10)
    assert answer.status_code == 200
    assert answer.json()["events"] == 0
    assert web.ledger.history.notification(answer.json()["notification"]).verdict == "unreadable"


def test_a_chunked_body_arrives_whole(web, url):
    status, answer = chunked(url, [BODY[:7], BODY[7:]])
    assert status == 200
    assert json.loads(answer)["events"] == 1
    assert web.intake.received[0].body == BODY


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_is_exact_for_chunked_bodies(make_web, extra):
    web = make_web(hooks={"max_body": 100_000})
    with serving(web.app) as url:
        status, answer = chunked(url, [b"a" * 60_000, b"b" * (40_000 + extra)])
    if not extra:
        assert status == 200
        assert len(web.intake.received[0].body) == 100_000
    else:
        assert status == 413
        assert json.loads(answer)["code"] == "request.too_large"
        assert web.intake.received == []
        assert web.ledger.history.notifications().items == ()


def test_an_endless_chunked_body_is_refused_without_reading_it_all(make_web):
    web = make_web(hooks={"max_body": 1000})
    with serving(web.app) as url:
        status, _ = chunked(url, [b"a" * 2000], end=b"")
    assert status == 413


def test_a_declared_length_over_the_limit_is_refused_before_the_body(make_web):
    web = make_web(hooks={"max_body": 1000})
    with serving(web.app) as url:
        place = urlsplit(url)
        with socket.create_connection((place.hostname, place.port), timeout=10) as wire:
            wire.sendall(b"POST /hooks/exports HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
            answer = http.client.HTTPResponse(wire)
            answer.begin()
            assert answer.status == 413
    assert web.intake.received == []


def test_a_chunked_body_that_breaks_off_is_not_taken_for_whole(web, url):
    status, answer = chunked(url, [BODY[:10]], end=b"40\r\nhalf")
    assert status == 400
    assert json.loads(answer)["code"] == "request.broken"
    assert web.intake.received == []


def test_a_body_shorter_than_declared_is_not_taken_for_whole(web, url):
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as wire:
        wire.sendall(b"POST /hooks/exports HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{}")
        wire.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        assert answer.status == 400
    assert web.intake.received == []


def test_an_unknown_sender_leaves_no_trace(web, url):
    answer = requests.post(f"{url}/hooks/exports", data=BODY, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "hook.unverified"
    assert web.ledger.history.notifications().items == ()


def test_an_unknown_source_is_not_found(url):
    answer = requests.post(f"{url}/hooks/nowhere", data=BODY, headers=KNOWN, timeout=10)
    assert answer.status_code == 404
    assert answer.json()["code"] == "source.unknown"


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_a_handshake_gets_the_desks_own_answer(web, url, method):
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    answer = requests.request(method, f"{url}/hooks/exports", headers=headers, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.content == (b"hello" if method == "OPTIONS" else b"")
    assert web.intake.received[0].method == method


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_told_what_is_allowed(web, url, method):
    answer = requests.request(method, f"{url}/hooks/exports", timeout=10)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS", "HEAD"}
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert web.intake.received == []


def test_what_cannot_be_stored_is_asked_for_again(web, url, tmp_path):
    lock = sqlite3.connect(tmp_path / "relay.db")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        answer = requests.post(f"{url}/hooks/exports", data=BODY, headers=KNOWN, timeout=30)
    finally:
        lock.rollback()
        lock.close()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    again = requests.post(f"{url}/hooks/exports", data=BODY, headers=KNOWN, timeout=10)
    assert again.json()["events"] == 1


def test_hooks_are_not_behind_the_api_tokens(make_web):
    web = make_web(tokens=("api-token-of-the-tests",))
    with serving(web.app) as url:
        headers = {**KNOWN, "X-Forwarded-For": "203.0.113.9", "Host": "relay.example.com"}
        answer = requests.post(f"{url}/hooks/exports", data=BODY, headers=headers, timeout=10)
    assert answer.status_code == 200


def test_who_is_not_known_is_told_how_to_show_a_token(url):
    """Oracle's notifications come with Basic once they are asked for it (RFC 9110 §11.6.1)."""
    answer = requests.post(f"{url}/hooks/exports", data=BODY, timeout=10)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="relay", Bearer realm="relay"'
