"""The hooks over real sockets."""

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
    """Post with Transfer-Encoding: chunked over a raw socket. Returns status and body."""
    address = urlsplit(url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: {HOOK}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        for chunk in chunks:
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        connection.sendall(end)
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def test_a_notification_is_stored_before_the_response(web, url):
    response = requests.post(f"{url}/hooks/exports", data=BODY, headers=KNOWN, timeout=10)
    assert response.status_code == 200
    assert response.json().keys() == {"notification", "events"}
    assert response.json()["events"] == 1
    stored = web.ledger.history.notification(response.json()["notification"])
    assert stored.body == BODY
    assert stored.path == "/hooks/exports"


def test_the_intake_receives_the_request_unchanged(web, url):
    body = b'\xff\x00 not text \r\n{"a": 1}'
    requests.post(
        f"{url}/hooks/exports?token=first&token=second&x=%20y",
        data=body,
        headers={**KNOWN, "X-Amz-Sns-Message-Type": "Notification", "Content-Type": "text/plain"},
        timeout=10,
    )
    (incoming,) = web.intake.received
    assert incoming.body == body
    assert incoming.method == "POST"
    assert incoming.path == "/hooks/exports"
    assert incoming.query == {"token": "first", "x": " y"}
    assert incoming.headers["x-amz-sns-message-type"] == "Notification"
    assert incoming.headers["content-type"] == "text/plain"
    assert all(name == name.lower() for name in incoming.headers)


def test_a_form_body_is_kept_as_it_is(web, url):
    headers = {**KNOWN, "Content-Type": "application/x-www-form-urlencoded"}
    requests.post(f"{url}/hooks/exports", data=BODY, headers=headers, timeout=10)
    assert web.intake.received[0].body == BODY


def test_an_unreadable_notification_is_stored_and_gets_200(web, url):
    response = requests.post(f"{url}/hooks/exports", data=b"\xfe", headers=KNOWN, timeout=10)
    assert response.status_code == 200
    assert response.json()["events"] == 0
    assert web.ledger.history.notification(response.json()["notification"]).verdict == "unreadable"


def test_a_chunked_body_is_complete(web, url):
    status, response = chunked(url, [BODY[:7], BODY[7:]])
    assert status == 200
    assert json.loads(response)["events"] == 1
    assert web.intake.received[0].body == BODY


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_is_exact_for_chunked_bodies(make_web, extra):
    web = make_web(hooks={"max_body": 100_000})
    with serving(web.app) as url:
        status, response = chunked(url, [b"a" * 60_000, b"b" * (40_000 + extra)])
    if not extra:
        assert status == 200
        assert len(web.intake.received[0].body) == 100_000
    else:
        assert status == 413
        assert json.loads(response)["code"] == "request.too_large"
        assert web.intake.received == []
        assert web.ledger.history.notifications().items == ()


def test_an_endless_chunked_body_is_refused_early(make_web):
    web = make_web(hooks={"max_body": 1000})
    with serving(web.app) as url:
        status, _ = chunked(url, [b"a" * 2000], end=b"")
    assert status == 413


def test_a_declared_length_over_the_limit_is_refused_before_the_body(make_web):
    web = make_web(hooks={"max_body": 1000})
    with serving(web.app) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(
                b"POST /hooks/exports HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"
            )
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 413
    assert web.intake.received == []


def test_a_truncated_chunked_body_is_refused(web, url):
    status, response = chunked(url, [BODY[:10]], end=b"40\r\nhalf")
    assert status == 400
    assert json.loads(response)["code"] == "request.broken"
    assert web.intake.received == []


def test_a_body_shorter_than_declared_is_refused(web, url):
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            b"POST /hooks/exports HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{}"
        )
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 400
    assert web.intake.received == []


def test_nothing_is_stored_of_an_unverified_request(web, url):
    response = requests.post(f"{url}/hooks/exports", data=BODY, timeout=10)
    assert response.status_code == 401
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "hook.unverified"
    assert web.ledger.history.notifications().items == ()


def test_an_unknown_source_is_not_found(url):
    response = requests.post(f"{url}/hooks/nowhere", data=BODY, headers=KNOWN, timeout=10)
    assert response.status_code == 404
    assert response.json()["code"] == "source.unknown"


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_a_handshake_gets_the_reply_of_the_envelope(web, url, method):
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    response = requests.request(method, f"{url}/hooks/exports", headers=headers, timeout=10)
    assert response.status_code == 200
    assert response.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert response.content == (b"hello" if method == "OPTIONS" else b"")
    assert web.intake.received[0].method == method


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_get_405_with_the_allowed_methods(web, url, method):
    response = requests.request(method, f"{url}/hooks/exports", timeout=10)
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"POST", "OPTIONS", "HEAD"}
    assert response.headers["Content-Type"] == "application/problem+json"
    assert web.intake.received == []


def test_a_locked_database_gives_503_and_a_retry_succeeds(web, url, tmp_path):
    lock = sqlite3.connect(tmp_path / "relay.db")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        response = requests.post(f"{url}/hooks/exports", data=BODY, headers=KNOWN, timeout=30)
    finally:
        lock.rollback()
        lock.close()
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    retried = requests.post(f"{url}/hooks/exports", data=BODY, headers=KNOWN, timeout=10)
    assert retried.json()["events"] == 1


def test_hooks_do_not_require_api_tokens(make_web):
    web = make_web(tokens=("api-token-of-the-tests",))
    with serving(web.app) as url:
        headers = {**KNOWN, "X-Forwarded-For": "203.0.113.9", "Host": "relay.example.com"}
        response = requests.post(f"{url}/hooks/exports", data=BODY, headers=headers, timeout=10)
    assert response.status_code == 200


def test_an_unverified_request_gets_an_authentication_challenge(url):
    """Oracle sends Basic credentials only after a challenge (RFC 9110 §11.6.1)."""
    response = requests.post(f"{url}/hooks/exports", data=BODY, timeout=10)
    assert response.headers["WWW-Authenticate"] == 'Basic realm="relay", Bearer realm="relay"'
