"""ChannelSuite: the conformance tests for channels, run against a stand-in on loopback.

A test class for a channel inherits the suite and defines the responses of the service:

    class TestSlack(ChannelSuite):
        accepts = Reply(200, "ok")
        refuses = Reply(404, "no_service")

        def make(self, url, language, outbound):
            return Channel("ops", SlackSettings(kind="slack", url=url, language=language), outbound)
"""

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any, ClassVar

import pytest

from relay.channels.contract import Channel
from relay.channels.samples import DOWN, OUTCOMES, PROBLEM, digest, message, target_message
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.fake_server import SECRET_PATH, Received, Reply, StandIn

HOSTILE = (
    "<!here> <!channel|x> @channel @everyone &lt; <https://evil.example|click> "
    "*b* _i_ ~s~ `c` :tada: [a](https://evil.example) **b**\r\n# h\x00\x1b[31m\u202egpj.exe\u2066 "
)
"""Markup, mentions, links, control characters and marks that change the text direction."""


def strings(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value except keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


class ChannelSuite:
    """Subclasses define `accepts`, `refuses` and `make`, and `secrets` and `shown_id` if needed."""

    accepts: ClassVar[Reply]
    """The response of the service to an accepted message."""
    refuses: ClassVar[Reply]
    """An error response of the service after which a retry does not help."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """Secrets in the settings of the channel, in addition to the URL."""

    def make(self, url: str, language: str, outbound: HttpClientFactory) -> Channel:
        """Create a channel that posts to `url`."""
        raise NotImplementedError

    def shown_id(self, received: Received) -> str | None:  # noqa: ARG002 - a default
        """Return the message id that receivers see, or None."""
        return None

    def assert_harmless(self, received: Received) -> None:
        """Assert that foreign text in the posted body has no effect."""
        for text in strings(received.json()):
            assert "<!" not in text
            assert "<https://evil" not in text
            assert not set(text) & set("\x00\x1b\r\u202e\u2066")

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with StandIn(self.accepts) as stand_in:
            yield stand_in

    @pytest.fixture
    def outbound(self) -> HttpClientFactory:
        return HttpClientFactory(allow_private=[ip_network("127.0.0.0/8")], read_timeout=5)

    @pytest.fixture
    def channel(self, stand_in: StandIn, outbound: HttpClientFactory) -> Iterator[Channel]:
        channel = self.make(stand_in.url, "en", outbound)
        yield channel
        channel.close()

    @pytest.mark.parametrize("language", ["en", "zh"])
    @pytest.mark.parametrize("type_", OUTCOMES)
    def test_every_type_is_posted_in_both_languages(
        self, stand_in: StandIn, outbound: HttpClientFactory, type_: str, language: str
    ) -> None:
        channel = self.make(stand_in.url, language, outbound)
        channel.post(message(type_))
        channel.close()
        text = "\n".join(strings(stand_in.received[0].json()))
        assert "orders" in text
        if type_ == "import.failed":
            assert PROBLEM.code in text
            assert PROBLEM.message.in_language(language) in text
            assert PROBLEM.hint.in_language(language) in text

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_a_digest_has_counts_and_failures(
        self, stand_in: StandIn, outbound: HttpClientFactory, language: str
    ) -> None:
        channel = self.make(stand_in.url, language, outbound)
        channel.post(digest())
        channel.close()
        text = json.dumps(stand_in.received[0].json(), ensure_ascii=False)
        assert "27" in text
        assert PROBLEM.message.in_language(language) in text

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_a_target_that_is_down_and_up_again_is_posted(
        self, stand_in: StandIn, outbound: HttpClientFactory, language: str
    ) -> None:
        channel = self.make(stand_in.url, language, outbound)
        channel.post(target_message("down"))
        channel.post(target_message("up"))
        channel.close()
        down, up = ("\n".join(strings(request.json())) for request in stand_in.received)
        assert "prod" in down
        assert DOWN.message.in_language(language) in down
        assert "prod" in up
        assert DOWN.message.in_language(language) not in up

    def test_a_repeated_message_has_the_same_id(self, channel: Channel, stand_in: StandIn) -> None:
        repeated = message("import.succeeded")
        channel.post(repeated)
        channel.post(repeated)
        shown = [self.shown_id(received) for received in stand_in.received]
        assert shown in ([repeated.id, repeated.id], [None, None])

    def test_retry_after_of_the_service_is_in_the_error(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(Reply(429, "slow down", {"Retry-After": "42"}))
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.retry_after == timedelta(seconds=42)

    def test_a_failing_service_is_a_temporary_failure(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(Reply(500, "oops"))
        with pytest.raises(TemporaryFailure):
            channel.post(message("import.failed"))
        channel.post(message("import.failed"))

    def test_an_unreachable_service_is_a_temporary_failure(
        self, outbound: HttpClientFactory
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        channel = self.make(f"http://127.0.0.1:{port}{SECRET_PATH}", "en", outbound)
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        channel.close()
        assert SECRET_PATH not in "".join(traceback.format_exception(caught.value))

    def test_a_refusal_is_permanent_and_has_a_hint(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(self.refuses)
        with pytest.raises(PermanentFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.hint.en
        assert caught.value.hint.zh

    def test_a_redirect_is_an_error_and_not_followed(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(Reply(302, "", {"Location": stand_in.url}))
        with pytest.raises(RelayError):
            channel.post(message("import.failed"))
        assert len(stand_in.received) == 1

    @pytest.mark.parametrize("repeat", [1, 100])
    def test_hostile_text_is_harmless(
        self, channel: Channel, stand_in: StandIn, repeat: int
    ) -> None:
        text = HOSTILE * repeat
        failed = Failed(Problem("x.y", Localized(text, text), Localized(text, text)))
        channel.post(message("import.failed", outcome=failed, key=f"{text}/{text}.zip"))
        self.assert_harmless(stand_in.received[0])

    @pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 410, 429, 500])
    def test_the_url_and_the_secrets_are_never_shown(
        self,
        channel: Channel,
        stand_in: StandIn,
        caplog: pytest.LogCaptureFixture,
        status: int,
    ) -> None:
        caplog.set_level(logging.INFO)
        hidden = (SECRET_PATH, stand_in.url, "T0SECRETPART", "B0SECRETPART", *self.secrets)
        stand_in.replies.append(Reply(status, " ".join(hidden), {"Location": stand_in.url}))
        try:
            texts = [channel.post(message("import.failed")).answer]
        except RelayError as error:
            problem = json.dumps(error.problem.to_json(), ensure_ascii=False)
            texts = [str(error), repr(error), problem, error.answer or ""]
        shown = "\n".join([*texts, caplog.text])
        assert not [secret for secret in hidden if secret in shown]

    def test_a_private_address_is_refused_unless_allowed(self, stand_in: StandIn) -> None:
        channel = self.make(stand_in.url, "en", HttpClientFactory())
        with pytest.raises(PermanentFailure) as caught:
            channel.post(message("import.failed"))
        channel.close()
        assert caught.value.code == "outbound.private"
        assert stand_in.received == []
