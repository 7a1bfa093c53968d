"""Posting: what a channel's URL answers, or why it does not, with the URL kept out of it."""

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
def hanging_up():
    """A server that reads a request and hangs up without an answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/services/T0SECRET"
    thread.join()
    server.close()


def test_a_lost_answer_is_a_reason_to_post_again_and_shows_no_url(hanging_up, outbound):
    poster = Poster(outbound, hanging_up)
    with pytest.raises(TemporaryFailure) as caught:
        poster.post(b"{}", {})
    poster.close()
    assert caught.value.code == "outbound.answer_lost"
    assert "T0SECRET" not in "".join(traceback.format_exception(caught.value))


def test_an_answer_that_echoes_the_url_and_its_credentials_is_kept_without_them(stand_in, outbound):
    url = stand_in.url.replace("http://", "http://relay:s3cret-word@") + "?key=query-secret"
    poster = Poster(outbound, url, secrets=["whsec_abc"])
    stand_in.replies.append(Reply(418, f"no hook: {url} query-secret s3cret-word whsec_abc"))
    answer = poster.post(b"{}", {})
    poster.close()
    assert answer.status == 418
    assert answer.summary == "418 no hook: [redacted] [redacted] [redacted] [redacted]"


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
@pytest.mark.parametrize("said", ["ab%2Fcd%2Bef%3D%3Dxyz", "ab/cd+ef==xyz"])
def test_a_secret_of_the_url_is_hidden_as_it_is_written_and_as_it_is_meant(url, said):
    kept = redactor_for(url).known(f"no such hook: {said}")
    assert kept == "no such hook: [redacted]"


def test_a_plain_word_of_the_url_stays_readable():
    assert redactor_for("https://h.example/hook/send").known("no hook to send") == "no hook to send"


def test_an_echo_is_hidden_even_where_the_excerpt_ends_inside_it(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, "x" * 290 + stand_in.url))
    answer = poster.post(b"{}", {})
    poster.close()
    assert answer.text == "x" * 290 + "[redacted]"


def test_a_huge_answer_is_cut_and_its_control_characters_are_gone(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, "\x1b[31m" + "y" * 1_000_000))
    answer = poster.post(b"{}", {})
    poster.close()
    assert len(answer.text) <= 300
    assert "\x1b" not in answer.text


def test_what_a_post_adds_to_the_url_is_quoted_and_kept_out_of_the_answer(internet):
    internet.serve("hooks.example.com", lambda request: f"no: {request.path} a+b/c==".encode())
    url = "https://hooks.example.com/send?access_token=s3cret-word"
    poster = Poster(HttpClientFactory(allow_private=internet.allowed), url)
    answer = poster.post(b"{}", {}, {"timestamp": "1772600767890", "sign": "a+b/c=="})
    poster.close()
    [request] = internet.requests
    assert request.path == (
        "/send?access_token=s3cret-word&timestamp=1772600767890&sign=a%2Bb%2Fc%3D%3D"
    )
    assert answer.text == "no: [redacted]&timestamp=[redacted]&sign=[redacted] [redacted]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"errcode": 0, "errmsg": "ok"}', {"errcode": 0, "errmsg": "ok"}),
        ('{"url": "https://x.example/B0SECRETPART"}', {"url": "https://x.example/[redacted]"}),
        ("[0]", {}),
        ("ok", {}),
        ("", {}),
        ("[" * 50_000, {}),
    ],
)
def test_a_json_object_is_read_whole_and_without_secrets(stand_in, outbound, text, said):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, text))
    answer = poster.post(b"{}", {})
    poster.close()
    assert answer.payload == said


def test_a_json_object_longer_than_the_excerpt_is_read_whole(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, f'{{"errmsg": "{"x" * 10_000}", "errcode": 7}}'))
    answer = poster.post(b"{}", {})
    poster.close()
    assert answer.payload["errcode"] == 7
    assert len(answer.text) == 300
