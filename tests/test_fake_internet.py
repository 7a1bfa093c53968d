"""The tests' internet is one: names, TLS and the guard are as in the world."""

from __future__ import annotations

import socket

import pytest
import requests

from relay.errors import PermanentFailure, TemporaryFailure
from relay.outbound.fetch import Fetcher
from tests.fake_internet import Internet, Reply, Request


@pytest.fixture
def fetcher(internet: Internet):
    made = Fetcher(allow_private=internet.allowed)
    yield made
    made.close()


def test_an_unpatched_address_leads_to_the_loopback_server(internet, fetcher):
    internet.serve("sns.us-east-1.amazonaws.com", lambda request: request.path.encode())
    internet.serve("hooks.slack.com", lambda request: b"slack")
    assert fetcher("https://sns.us-east-1.amazonaws.com/a.pem?b=1") == b"/a.pem?b=1"
    assert fetcher("https://hooks.slack.com/x") == b"slack"
    assert [one.host for one in internet.requests] == [
        "sns.us-east-1.amazonaws.com",
        "hooks.slack.com",
    ]
    assert internet.names == ["sns.us-east-1.amazonaws.com", "hooks.slack.com"]


def test_everything_about_a_request_is_recorded(internet):
    internet.serve("example.org", lambda request: Reply(201, b"made", {"Location": "/1"}))
    answer = requests.post("https://example.org/things?q=1", data=b"body", timeout=5)
    assert (answer.status_code, answer.text, answer.headers["Location"]) == (201, "made", "/1")
    [request] = internet.to("example.org")
    assert isinstance(request, Request)
    assert (request.method, request.path, request.body) == ("POST", "/things?q=1", b"body")
    assert request.headers["content-length"] == "4"


def test_without_leave_the_guard_refuses_before_anything_is_said(internet):
    internet.serve("example.org", lambda request: b"never")
    fetcher = Fetcher()
    try:
        with pytest.raises(PermanentFailure) as raised:
            fetcher("https://example.org/")
    finally:
        fetcher.close()
    assert raised.value.code == "outbound.private"
    assert internet.requests == []


def test_an_unknown_host_name_does_not_resolve(internet, fetcher):
    with pytest.raises(TemporaryFailure) as raised:
        fetcher("https://example.org/")
    assert raised.value.code == "outbound.unreachable"
    assert internet.names == ["example.org"]


def test_an_unknown_certificate_is_not_trusted(internet, fetcher):
    internet.serve("example.org", lambda request: b"never")
    internet.trusted = False
    with pytest.raises(TemporaryFailure) as raised:
        fetcher("https://example.org/")
    assert raised.value.code == "outbound.certificate"
    assert internet.requests == []


def test_a_redirect_is_not_followed(internet, fetcher):
    internet.serve("example.org", lambda request: Reply(302, b"", {"Location": "https://evil.org"}))
    internet.serve("evil.org", lambda request: b"never")
    with pytest.raises(TemporaryFailure):
        fetcher("https://example.org/")
    assert internet.to("evil.org") == []


def test_names_are_given_back_afterwards():
    assert socket.getaddrinfo.__module__ == "socket"
