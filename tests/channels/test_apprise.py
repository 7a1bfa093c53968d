"""The Apprise channel: the same texts and protection as other channels, and the known limits.

Uses a real SMTP server, and a real Matrix server if matrix-synapse is installed.
"""

from __future__ import annotations

import email
import json
import re
import shutil
import socket
import subprocess
import sys
from email.policy import default as default_policy
from time import monotonic, sleep

import pytest
import requests
from aiosmtpd.controller import Controller
from pydantic import ValidationError

from relay.channels.apprise.card import render
from relay.channels.apprise.channel import OWN_CHANNELS, AppriseSettings, Channel
from relay.channels.apprise.guard import ConnectionGuard, guarded
from relay.channels.card import build_card
from relay.channels.samples import PROBLEM, digest, message
from relay.errors import ConfigError, PermanentFailure, TemporaryFailure
from relay.outbound.session import HttpClientFactory
from relay.plugins import find
from relay.testing.channel_suite import HOSTILE, ChannelSuite, strings
from relay.testing.fake_server import Reply
from tests.fake_internet import Reply as InternetReply


def build_channel(url, outbound, language="en"):
    return Channel("ops", AppriseSettings(kind="apprise", url=url, language=language), outbound)


class TestApprise(ChannelSuite):
    """Uses Apprise's JSON service, which posts to any HTTP server."""

    accepts = Reply(200, "ok")
    refuses = Reply(400, "no")

    def make(self, url, language, outbound):
        return build_channel(url.replace("http://", "json://", 1), outbound, language)

    def assert_harmless(self, received):
        """The text contains no mention in any markup, and only addresses of Relay."""
        super().assert_harmless(received)
        for text in strings(received.json()):
            assert not re.search(r"@\w|<[!@#&]|\bwww\.", text)
            assert set(re.findall(r"\w+://[^/\s]+", text)) <= {"https://relay.example.com"}

    def test_retry_after_of_the_service_is_in_the_error(self, channel, stand_in):
        """Overridden: Apprise does not report Retry-After, so the normal backoff applies."""
        stand_in.replies.append(Reply(429, "slow down", {"Retry-After": "42"}))
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.retry_after is None

    def test_a_refusal_is_permanent_and_has_a_hint(self, channel, stand_in):
        """Overridden: Apprise reports no error codes, so no refusal is permanent."""
        stand_in.replies.append(self.refuses)
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.code == "apprise.not_posted"
        assert caught.value.hint.zh


def test_a_service_receives_title_text_and_type_over_https(internet):
    internet.serve("ntfy.sh", lambda _: b"{}")
    channel = build_channel(
        "ntfys://relay-topic", HttpClientFactory(allow_private=internet.allowed)
    )
    channel.post(message("import.failed"))
    [request] = internet.requests
    body = json.loads(request.body)
    assert body["title"] == "❌ Import failed: orders"
    assert f"What to do next: {PROBLEM.hint.en}" in body["message"]


def test_a_preview_shows_the_arguments_for_apprise(outbound):
    preview = build_channel("json://x", outbound).preview(message("import.failed"))
    assert preview["title"] == "❌ Import failed: orders"
    assert PROBLEM.hint.en in preview["body"]
    assert preview["notify_type"] == "failure"


def test_a_redirect_of_a_service_is_not_followed(internet):
    moved = InternetReply(307, b"", {"Location": "https://elsewhere.example/"})
    internet.serve("ntfy.sh", lambda _: moved)
    channel = build_channel(
        "ntfys://relay-topic", HttpClientFactory(allow_private=internet.allowed)
    )
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert internet.names == ["ntfy.sh"]


def test_no_url_option_enables_redirects(internet):
    moved = InternetReply(307, b"", {"Location": "https://elsewhere.example/"})
    internet.serve("ntfy.sh", lambda _: moved)
    internet.serve("elsewhere.example", lambda _: b"{}")
    channel = build_channel(
        "ntfys://relay-topic/?redirect=yes", HttpClientFactory(allow_private=internet.allowed)
    )
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert internet.to("elsewhere.example") == []


@pytest.mark.parametrize("option", ["", "?verify=no"])
def test_no_url_option_disables_certificate_checks(internet, option):
    internet.serve("ntfy.sh", lambda _: b"{}")
    internet.trusted = False
    channel = build_channel(
        f"ntfys://relay-topic/{option}", HttpClientFactory(allow_private=internet.allowed)
    )
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    assert internet.requests == []


def test_an_error_code_of_the_target_contains_no_mention_and_no_link():
    failure = message("import.failed")
    body = {
        **failure.body,
        "error": {**failure.body["error"], "code": "fg.@everyone https://evil.org"},
    }
    text = render(build_card("import.failed", body, "en"))["body"]
    assert "@everyone" not in text
    assert "https://evil" not in text


def test_the_stored_response_does_not_contain_the_secret_topic(internet):
    internet.serve("ntfy.sh", lambda _: InternetReply(403, b"{}"))
    channel = build_channel(
        "ntfys://relay-secret-topic", HttpClientFactory(allow_private=internet.allowed)
    )
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert "403" in caught.value.answer
    assert "relay-secret-topic" not in caught.value.answer


@pytest.mark.parametrize("scheme", ["rsyslog", "xmpp", "xmpps"])
def test_services_without_responses_or_address_checks_are_refused(scheme):
    with pytest.raises(ValidationError, match="should be another service"):
        AppriseSettings(kind="apprise", url=f"{scheme}://user:word@example.com")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(
    "send",
    [
        lambda sender, address: sender.connect(address),
        lambda sender, address: sender.sendto(b"data", address),
        lambda sender, address: sender.sendmsg([b"data"], [], 0, address),
    ],
)
def test_no_socket_call_reaches_a_private_address(host, send):
    guard = ConnectionGuard(HttpClientFactory())
    kind = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*kind) as sender, socket.socket(*kind) as receiver:
        receiver.bind(("127.0.0.1", 0))
        address = (host, receiver.getsockname()[1])
        with guarded(guard), pytest.raises(PermissionError):
            send(sender, address)
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(10)
    assert guard.refused.code == "outbound.private"


@pytest.mark.parametrize(("scheme", "kind"), OWN_CHANNELS.items())
def test_services_with_hidden_errors_are_refused_and_the_own_kind_is_named(scheme, kind):
    with pytest.raises(ValidationError, match=f'use kind = "{kind}"'):
        AppriseSettings(kind="apprise", url=f"{scheme}://{'a' * 40}")


def test_https_addresses_of_these_services_are_refused_too(outbound):
    channel = build_channel(
        "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=" + "a" * 36, outbound
    )
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.succeeded"))
    assert caught.value.code == "apprise.own_channel"
    assert caught.value.hint.en == 'Use kind = "wecom".'


@pytest.mark.parametrize("url", ["dbus://", "syslog://"])
def test_services_local_to_this_machine_are_refused(url):
    with pytest.raises(ValidationError, match="a service that a team can read"):
        AppriseSettings(kind="apprise", url=url)


def test_an_invalid_url_is_refused_and_not_shown():
    with pytest.raises(ValidationError) as caught:
        AppriseSettings(kind="apprise", url="s3cret-without-a-scheme")
    assert "s3cret" not in str(caught.value)


def test_ready_reports_a_scheme_that_apprise_does_not_know(outbound):
    channel = build_channel("nosuchservice://x", outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    assert caught.value.code == "apprise.url"


def test_ready_names_the_service_and_posts_nothing(outbound, stand_in):
    channel = build_channel(stand_in.url.replace("http://", "json://", 1), outbound)
    assert channel.ready() == "JSON: the url is valid (nothing was posted)"
    assert stand_in.received == []


def test_a_missing_package_is_reported_with_the_install_command(monkeypatch):
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


class MailServer:
    """Stores received mail. `answer`: the response to DATA."""

    def __init__(self):
        self.received = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.received.append(envelope)
        return self.answer


@pytest.fixture
def mail_server():
    server = MailServer()
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.port = free.getsockname()[1]
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    yield server
    controller.stop()


def mail_url(mail_server):
    return f"mailto://127.0.0.1:{mail_server.port}?from=relay@example.com&to=team@example.com&mode=insecure"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_mail_contains_the_problem_and_the_advice(mail_server, outbound, language):
    build_channel(mail_url(mail_server), outbound, language).post(message("import.failed"))
    [envelope] = mail_server.received
    mail = email.message_from_bytes(envelope.content, policy=default_policy)
    body = mail.get_body(("html", "plain")).get_content()
    assert envelope.rcpt_tos == ["team@example.com"]
    assert "orders" in mail["Subject"]
    assert PROBLEM.message.in_language(language) in body
    assert PROBLEM.hint.in_language(language) in body


def test_a_mail_contains_no_markup_of_hostile_text(mail_server, outbound):
    build_channel(mail_url(mail_server), outbound).post(
        message("import.succeeded", func_name=f"<b>{HOSTILE}")
    )
    mail = email.message_from_bytes(mail_server.received[0].content, policy=default_policy)
    assert "\n" not in mail["Subject"]
    for part in mail.walk():
        if part.get_content_type() == "text/html":
            assert "<b>" not in part.get_content()
            assert 'href="https://evil' not in part.get_content()


def test_a_mail_that_the_server_refuses_is_retried(mail_server, outbound):
    mail_server.answer = "451 come later"
    with pytest.raises(TemporaryFailure):
        build_channel(mail_url(mail_server), outbound).post(message("import.failed"))


def test_a_private_mail_server_is_refused_unless_allowed(mail_server):
    with pytest.raises(PermanentFailure) as caught:
        build_channel(mail_url(mail_server), HttpClientFactory()).post(message("import.failed"))
    assert caught.value.code == "outbound.private"
    assert mail_server.received == []


def test_a_digest_is_a_single_mail(mail_server, outbound):
    build_channel(mail_url(mail_server), outbound).post(digest())
    [envelope] = mail_server.received
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
    """A Matrix server with a user and a room."""

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
        # Apprise appends the server name to a room id; ids of room version 12 have no server name.
        wanted = {"preset": "private_chat", "room_version": "11"}
        self.room = self.call("POST", "createRoom", wanted)["room_id"]

    def call(self, method, path, body=None):
        response = requests.request(
            method,
            f"{self.url}/_matrix/client/v3/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
            timeout=20,
        )
        response.raise_for_status()
        return response.json()

    def texts(self):
        events = self.call("GET", f"rooms/{self.room}/messages?dir=b&limit=20")["chunk"]
        return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


@pytest.mark.skipif(not SYNAPSE, reason="matrix-synapse is not installed (pip install it to run)")
def test_a_matrix_room_receives_the_message(matrix, outbound):
    host = matrix.url.removeprefix("http://")
    channel = build_channel(f"matrix://relay:s3cret-of-relay@{host}/{matrix.room}", outbound)
    channel.post(message("import.failed"))
    assert any(PROBLEM.hint.en in text and "orders" in text for text in matrix.texts())
    wrong = build_channel(f"matrix://relay:wrong@{host}/{matrix.room}", outbound)
    with pytest.raises(TemporaryFailure):
        wrong.post(message("import.failed"))
