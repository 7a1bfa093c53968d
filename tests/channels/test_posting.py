"""Posting: what a channel's URL answers, or why it does not, with the URL kept out of it."""

from __future__ import annotations

import socket
import threading
import traceback

import pytest

from relay.errors import TemporaryFailure
from relay.posting import Poster
from relay.testing.stand_in import Reply


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
    assert answer.told == "418 no hook: *** *** *** ***"


def test_an_echo_is_hidden_even_where_the_excerpt_ends_inside_it(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, "x" * 290 + stand_in.url))
    answer = poster.post(b"{}", {})
    poster.close()
    assert answer.text == "x" * 290 + "***"


def test_a_huge_answer_is_cut_and_its_control_characters_are_gone(stand_in, outbound):
    poster = Poster(outbound, stand_in.url)
    stand_in.replies.append(Reply(200, "\x1b[31m" + "y" * 1_000_000))
    answer = poster.post(b"{}", {})
    poster.close()
    assert len(answer.text) <= 300
    assert "\x1b" not in answer.text
