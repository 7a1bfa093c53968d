"""Posting to the URL of a channel: responses and errors, without the URL."""

from __future__ import annotations

import socket
import threading
import traceback

import pytest

from relay.errors import TemporaryFailure
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, redactor_for
from relay.testing.fake_server import Reply


@pytest.fixture
def hang_up_url():
    """The URL of a server that reads a whole request and closes without a response."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = server.accept()
        with connection:
            request = b""
            while not request.endswith(b"\r\n\r\n{}"):
                request += connection.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/services/T0SECRET"
    thread.join()
    server.close()


def test_a_lost_response_is_temporary_and_its_error_shows_no_url(hang_up_url, outbound):
    poster = Poster(outbound, hang_up_url)
    with pytest.raises(TemporaryFailure) as caught:
        poster.post(b"{}", {})
    poster.close()
    assert caught.value.code == "outbound.answer_lost"
    assert "T0SECRET" not in "".join(traceback.format_exception(caught.value))


def test_the_url_and_secrets_are_redacted_in_an_echoing_response(stand_in, outbound):
    url = stand_in.url.replace("http://", "http://relay:s3cret-word@") + "?key=query-secret"
    poster = Poster(outbound, url, secrets=["whsec_abc"])
    stand_in.replies.append(Reply(418, f"no hook: {url} query-secret s3cret-word whsec_abc"))
    response = poster.post(b"{}", {})
    poster.close()
    assert response.status == 418
    assert response.summary == "418 no hook: [redacted] [redacted] [redacted] [redacted]"


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example/hook?token=ab%2Fcd%2Bef%3D%3Dxyz",
        "https://h.example/hook/ab%2Fcd%2Bef%3D%3Dxyz",
        "https://ab%2Fcd%2Bef%3D%3Dxyz@h.example/hook",
        "https://relay:ab%2Fcd%2Bef%3D%3Dxyz@h.example/hook",
        "tgram://ab%2Fcd%2Bef%3D%3Dxyz/123",
    ],
)
@pytest.mark.parametrize("payload", ["ab%2Fcd%2Bef%3D%3Dxyz", "ab/cd+ef==xyz"])
def test_a_secret_of_the_url_is_redacted_encoded_and_decoded(url, payload):
    redacted = redactor_for(url).known(f"no such hook: {payload}")
    assert redacted == "no such hook: [redacted]"


def test_a_common_word_of_the_url_is_not_redacted():
    assert redactor_for("https://h.example/hook/send").known("no hook to send") == "no hook to send"


def test_an_echo_at_the_end_of_the_excerpt_is_redacted(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, "x" * 290 + stand_in.url))
    response = poster.post(b"{}", {})
    poster.close()
    assert response.text == "x" * 290 + "[redacted]"


def test_a_long_response_is_cut_and_has_no_control_characters(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, "\x1b[31m" + "y" * 1_000_000))
    response = poster.post(b"{}", {})
    poster.close()
    assert len(response.text) <= 300
    assert "\x1b" not in response.text


def test_query_parameters_are_quoted_and_redacted_in_the_response(internet):
    internet.serve("hooks.example.com", lambda request: f"no: {request.path} a+b/c==".encode())
    url = "https://hooks.example.com/send?access_token=s3cret-word"
    poster = Poster(HttpClientFactory(allow_private=internet.allowed), url)
    response = poster.post(b"{}", {}, {"timestamp": "1772600767890", "sign": "a+b/c=="})
    poster.close()
    [request] = internet.requests
    assert request.path == (
        "/send?access_token=s3cret-word&timestamp=1772600767890&sign=a%2Bb%2Fc%3D%3D"
    )
    assert response.text == "no: [redacted]&timestamp=[redacted]&sign=[redacted] [redacted]"


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ('{"errcode": 0, "errmsg": "ok"}', {"errcode": 0, "errmsg": "ok"}),
        ('{"url": "https://x.example/B0SECRETPART"}', {"url": "https://x.example/[redacted]"}),
        ("[0]", {}),
        ("ok", {}),
        ("", {}),
        ("[" * 50_000, {}),
    ],
)
def test_a_json_object_is_read_whole_and_without_secrets(stand_in, outbound, text, payload):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, text))
    response = poster.post(b"{}", {})
    poster.close()
    assert response.payload == payload


def test_a_json_object_longer_than_the_excerpt_is_read_whole(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, f'{{"errmsg": "{"x" * 10_000}", "errcode": 7}}'))
    response = poster.post(b"{}", {})
    poster.close()
    assert response.payload["errcode"] == 7
    assert len(response.text) == 300
