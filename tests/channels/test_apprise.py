"""Apprise: the long tail of services, told as plainly, guarded as well, and honest where it is not.

A real SMTP server, and a real Matrix server where matrix-synapse is installed.
"""

from __future__ import annotations

import email
import json
import re
import shutil
import socket
import subprocess
import sys
from email.policy import default as modern
from time import monotonic, sleep

import pytest
import requests
from aiosmtpd.controller import Controller
from pydantic import ValidationError

from relay.channels.apprise.card import render
from relay.channels.apprise.channel import OWN_CHANNELS, AppriseSettings, Channel
from relay.channels.apprise.guard import Guard, guarded
from relay.channels.card import build_card
from relay.errors import ConfigError, PermanentFailure, TemporaryFailure
from relay.outbound.session import HttpClientFactory
from relay.plugins import find
from relay.testing.channel_suite import ChannelSuite, digest, message, strings
from relay.testing.fake_server import Reply
from relay.testing.messages import HOSTILE, PROBLEM
from tests.fake_internet import Reply as internet_reply  # noqa: N813 - the other one is the suite's


def made(url, outbound, language="en"):
    return Channel("ops", AppriseSettings(kind="apprise", url=url, language=language), outbound)


class TestApprise(ChannelSuite):
    """Against Apprise's own JSON service, which posts to any HTTP server."""

    accepts = Reply(200, "ok")
    refuses = Reply(400, "no")

    def make(self, url, language, outbound):
        return made(url.replace("http://", "json://", 1), outbound, language)

    def assert_harmless(self, received):
        """Whatever markup a service knows: no mention, and no address that is not ours."""
        super().assert_harmless(received)
        for text in strings(received.json()):
            assert not re.search(r"@\w|<[!@#&]|\bwww\.", text)
            assert set(re.findall(r"\w+://[^/\s]+", text)) <= {"https://relay.example.com"}

    def test_when_asked_to_wait_it_says_how_long(self, channel, stand_in):
        """It cannot: Apprise tells of no Retry-After. The backoff waits instead."""
        stand_in.replies.append(Reply(429, "slow down", {"Retry-After": "42"}))
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.retry_after is None

    def test_a_refusal_is_final_and_says_what_to_do(self, channel, stand_in):
        """It cannot be final: Apprise tells of no codes either. It says where to look."""
        stand_in.replies.append(self.refuses)
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.code == "apprise.not_posted"
        assert caught.value.hint.zh


def test_a_service_over_https_gets_title_text_and_kind(internet):
    internet.serve("ntfy.sh", lambda _: b"{}")
    channel = made("ntfys://relay-topic", HttpClientFactory(allow_private=internet.allowed))
    channel.post(message("import.failed"))
    [request] = internet.requests
    told = json.loads(request.body)
    assert told["title"] == "❌ Import failed: orders"
    assert f"What to do next: {PROBLEM.hint.en}" in told["message"]


def test_a_preview_is_what_apprise_is_given(outbound):
    shown = made("json://x", outbound).preview(message("import.failed"))
    assert shown["title"] == "❌ Import failed: orders"
    assert PROBLEM.hint.en in shown["body"]
    assert shown["notify_type"] == "failure"


def test_a_redirect_of_a_service_is_not_followed(internet):
    moved = internet_reply(307, b"", {"Location": "https://elsewhere.example/"})
    internet.serve("ntfy.sh", lambda _: moved)
    channel = made("ntfys://relay-topic", HttpClientFactory(allow_private=internet.allowed))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert internet.names == ["ntfy.sh"]


def test_no_option_of_a_url_follows_a_redirect(internet):
    moved = internet_reply(307, b"", {"Location": "https://elsewhere.example/"})
    internet.serve("ntfy.sh", lambda _: moved)
    internet.serve("elsewhere.example", lambda _: b"{}")
    channel = made(
        "ntfys://relay-topic/?redirect=yes", HttpClientFactory(allow_private=internet.allowed)
    )
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert internet.to("elsewhere.example") == []


@pytest.mark.parametrize("option", ["", "?verify=no"])
def test_no_option_of_a_url_trusts_a_stranger(internet, option):
    internet.serve("ntfy.sh", lambda _: b"{}")
    internet.trusted = False
    channel = made(
        f"ntfys://relay-topic/{option}", HttpClientFactory(allow_private=internet.allowed)
    )
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert internet.requests == []


def test_a_code_of_the_target_mentions_nobody():
    told = message("import.failed")
    body = {**told.body, "error": {**told.body["error"], "code": "fg.@everyone https://evil.org"}}
    text = render(build_card("import.failed", body, "en"))["body"]
    assert "@everyone" not in text
    assert "https://evil" not in text


def test_what_a_service_says_is_kept_without_the_topic_that_opens_it(internet):
    internet.serve("ntfy.sh", lambda _: internet_reply(403, b"{}"))
    channel = made("ntfys://relay-secret-topic", HttpClientFactory(allow_private=internet.allowed))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert "403" in caught.value.answer
    assert "relay-secret-topic" not in caught.value.answer


@pytest.mark.parametrize("scheme", ["rsyslog", "xmpp", "xmpps"])
def test_what_could_lose_a_message_unheard_or_pass_the_guard_is_refused(scheme):
    with pytest.raises(ValidationError, match="should be another service"):
        AppriseSettings(kind="apprise", url=f"{scheme}://user:word@example.com")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "send",
    [
        lambda one, there: one.connect(there),
        lambda one, there: one.sendto(b"told", there),
        lambda one, there: one.sendmsg([b"told"], [], 0, there),
    ],
)
def test_nothing_goes_to_a_private_address_by_any_way(host, send):
    guard = Guard(HttpClientFactory())
    kind = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*kind) as one, socket.socket(*kind) as other:
        other.bind(("127.0.0.1", 0))
        there = (host, other.getsockname()[1])
        with guarded(guard), pytest.raises(PermissionError):
            send(one, there)
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(10)
    assert guard.refused.code == "outbound.private"


@pytest.mark.parametrize(("scheme", "kind"), OWN_CHANNELS.items())
def test_services_whose_failures_apprise_hides_are_refused_with_their_own_kind_named(scheme, kind):
    with pytest.raises(ValidationError, match=f'use kind = "{kind}"'):
        AppriseSettings(kind="apprise", url=f"{scheme}://{'a' * 40}")


def test_their_native_addresses_are_refused_too(outbound):
    channel = made("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=" + "a" * 36, outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.succeeded"))
    assert caught.value.code == "apprise.own_channel"
    assert caught.value.hint.en == 'Use kind = "wecom".'


@pytest.mark.parametrize("url", ["dbus://", "syslog://"])
def test_what_only_this_machine_would_see_is_refused(url):
    with pytest.raises(ValidationError, match="a service that a team can read"):
        AppriseSettings(kind="apprise", url=url)


def test_a_url_that_is_none_is_refused_without_being_shown():
    with pytest.raises(ValidationError) as caught:
        AppriseSettings(kind="apprise", url="s3cret-without-a-scheme")
    assert "s3cret" not in str(caught.value)


def test_a_scheme_that_apprise_does_not_know_is_told_when_it_is_tried(outbound):
    channel = made("nosuchservice://x", outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    assert caught.value.code == "apprise.url"


def test_ready_names_the_service_and_posts_nothing(outbound, stand_in):
    channel = made(stand_in.url.replace("http://", "json://", 1), outbound)
    assert channel.ready() == "JSON: the url is valid (nothing was posted)"
    assert stand_in.received == []


def test_without_the_package_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(Channel, "needs", ("no_such_package",))
    with pytest.raises(ConfigError, match="needs the Python package no_such_package") as caught:
        find("channels", "apprise")
    assert 'pip install "ziprelay[apprise]"' in caught.value.hint.en


def test_apprise_is_not_imported_before_the_first_message():
    script = (
        "import sys; from relay.channels.apprise.channel import AppriseSettings, Channel; "
        "from relay.outbound.session import HttpClientFactory; "
        "Channel('a', AppriseSettings(kind='apprise', url='json://x'), HttpClientFactory()); "
        "sys.exit('apprise' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# --- a real SMTP server -----------------------------------------------------------------------


class Letters:
    """Keeps what comes; `answer` is the server's to the text of a letter."""

    def __init__(self):
        self.kept = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.kept.append(envelope)
        return self.answer


@pytest.fixture
def letters():
    kept = Letters()
    with socket.create_server(("127.0.0.1", 0)) as free:
        kept.port = free.getsockname()[1]
    controller = Controller(kept, hostname="127.0.0.1", port=kept.port)
    controller.start()
    yield kept
    controller.stop()


def mail(letters):
    return f"mailto://127.0.0.1:{letters.port}?from=relay@example.com&to=team@example.com&mode=insecure"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_letter_says_what_failed_and_what_to_do(letters, outbound, language):
    made(mail(letters), outbound, language).post(message("import.failed"))
    [envelope] = letters.kept
    letter = email.message_from_bytes(envelope.content, policy=modern)
    body = letter.get_body(("html", "plain")).get_content()
    assert envelope.rcpt_tos == ["team@example.com"]
    assert "orders" in letter["Subject"]
    assert PROBLEM.message.in_(language) in body
    assert PROBLEM.hint.in_(language) in body


def test_a_letter_with_hostile_text_has_no_markup_of_it(letters, outbound):
    made(mail(letters), outbound).post(message("import.succeeded", func_name=f"<b>{HOSTILE}"))
    letter = email.message_from_bytes(letters.kept[0].content, policy=modern)
    assert "\n" not in letter["Subject"]
    for part in letter.walk():
        if part.get_content_type() == "text/html":
            assert "<b>" not in part.get_content()
            assert 'href="https://evil' not in part.get_content()


def test_a_server_that_takes_no_letter_is_tried_again(letters, outbound):
    letters.answer = "451 come later"
    with pytest.raises(TemporaryFailure):
        made(mail(letters), outbound).post(message("import.failed"))


def test_a_private_mail_server_is_refused_unless_allowed(letters):
    with pytest.raises(PermanentFailure) as caught:
        made(mail(letters), HttpClientFactory()).post(message("import.failed"))
    assert caught.value.code == "outbound.private"
    assert letters.kept == []


def test_a_digest_is_one_letter(letters, outbound):
    made(mail(letters), outbound).post(digest())
    [envelope] = letters.kept
    assert b"orders" in envelope.content


# --- a real Matrix server, where it is installed ----------------------------------------------

SYNAPSE = shutil.which("synapse_homeserver", path=f"{sys.prefix}/bin") or shutil.which(
    "synapse_homeserver"
)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "homeserver.yaml"
    config.write_text(
        json.dumps(
            {
                "server_name": "relay.test",
                "report_stats": False,
                "signing_key_path": str(folder / "key"),
                "pid_file": str(folder / "pid"),
                "media_store_path": str(folder / "media"),
                "database": {"name": "sqlite3", "args": {"database": str(folder / "db")}},
                "listeners": [
                    {
                        "port": port,
                        "type": "http",
                        "bind_addresses": ["127.0.0.1"],
                        "resources": [{"names": ["client"]}],
                    }
                ],
                "enable_registration": True,
                "enable_registration_without_verification": True,
                "trusted_key_servers": [],
            }
        )
    )
    keys = [SYNAPSE, "-c", str(config), "--generate-keys"]
    subprocess.run(keys, check=True, timeout=60, cwd=folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SYNAPSE, "-c", str(config)], cwd=folder, stderr=log)
        try:
            yield Matrix(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(30)


class Matrix:
    """One server with a user and a room."""

    def __init__(self, url, process):
        self.url = url
        until = monotonic() + 60
        while True:
            try:
                requests.get(f"{url}/health", timeout=2).raise_for_status()
                break
            except requests.RequestException:
                assert process.poll() is None
                assert monotonic() < until
                sleep(0.1)
        user = {
            "username": "relay",
            "password": "s3cret-of-relay",
            "auth": {"type": "m.login.dummy"},
        }
        self._token = ""
        self._token = self.call("POST", "register", user)["access_token"]
        # Apprise adds the server's name to an id, and ids of room version 12 have none.
        wanted = {"preset": "private_chat", "room_version": "11"}
        self.room = self.call("POST", "createRoom", wanted)["room_id"]

    def call(self, method, path, body=None):
        answer = requests.request(
            method,
            f"{self.url}/_matrix/client/v3/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
            timeout=20,
        )
        answer.raise_for_status()
        return answer.json()

    def texts(self):
        told = self.call("GET", f"rooms/{self.room}/messages?dir=b&limit=20")["chunk"]
        return [one["content"]["body"] for one in told if one["type"] == "m.room.message"]


@pytest.mark.skipif(not SYNAPSE, reason="matrix-synapse is not installed (pip install it to run)")
def test_a_matrix_room_is_told(matrix, outbound):
    host = matrix.url.removeprefix("http://")
    channel = made(f"matrix://relay:s3cret-of-relay@{host}/{matrix.room}", outbound)
    channel.post(message("import.failed"))
    assert any(PROBLEM.hint.en in text and "orders" in text for text in matrix.texts())
    wrong = made(f"matrix://relay:wrong@{host}/{matrix.room}", outbound)
    with pytest.raises(TemporaryFailure):
        wrong.post(message("import.failed"))
