"""ChannelSuite: the promises of every channel, kept against a stand-in on loopback.

A channel's test class inherits it and says how its service answers:

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
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.fake_server import SECRET_PATH, Received, Reply, StandIn
from relay.testing.messages import HOSTILE, NOW, OUTCOMES, PROBLEM, digest, message, turned

__all__ = [
    "HOSTILE",
    "NOW",
    "OUTCOMES",
    "PROBLEM",
    "ChannelSuite",
    "digest",
    "message",
    "strings",
    "turned",
]


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys apart."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


class ChannelSuite:
    """Inherit, and say `accepts`, `refuses`, `make`; `secrets`, `shown_id` where they apply."""

    accepts: ClassVar[Reply]
    """The service's answer to a message that it takes."""
    refuses: ClassVar[Reply]
    """An answer of the service after which waiting would not help."""
    secrets: ClassVar[tuple[str, ...]] = ()
    """What the channel's settings hold that may never be shown, beside the URL."""

    def make(self, url: str, language: str, outbound: HttpClientFactory) -> Channel:
        """The channel, configured to post to `url`."""
        raise NotImplementedError

    def shown_id(self, received: Received) -> str | None:  # noqa: ARG002 - a default
        """The message's id as the service shows it to receivers; None: it shows none."""
        return None

    def assert_harmless(self, received: Received) -> None:
        """Foreign text in the posted body does nothing but stand there."""
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
    def test_every_type_is_told_in_both_languages(
        self, stand_in: StandIn, outbound: HttpClientFactory, type_: str, language: str
    ) -> None:
        channel = self.make(stand_in.url, language, outbound)
        channel.post(message(type_))
        channel.close()
        told = "\n".join(strings(stand_in.received[0].json()))
        assert "orders" in told
        if type_ == "import.failed":
            assert PROBLEM.code in told
            assert PROBLEM.message.in_(language) in told
            assert PROBLEM.hint.in_(language) in told

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_a_digest_counts_lists_failures_first_and_says_that_there_are_more(
        self, stand_in: StandIn, outbound: HttpClientFactory, language: str
    ) -> None:
        channel = self.make(stand_in.url, language, outbound)
        channel.post(digest())
        channel.close()
        told = json.dumps(stand_in.received[0].json(), ensure_ascii=False)
        assert "27" in told
        assert PROBLEM.message.in_(language) in told

    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_a_target_that_is_down_and_up_again_is_told(
        self, stand_in: StandIn, outbound: HttpClientFactory, language: str
    ) -> None:
        channel = self.make(stand_in.url, language, outbound)
        channel.post(turned("down"))
        channel.post(turned("up"))
        channel.close()
        down, up = ("\n".join(strings(one.json())) for one in stand_in.received)
        assert "prod" in down
        assert PROBLEM.message.in_(language) in down
        assert "prod" in up
        assert PROBLEM.message.in_(language) not in up

    def test_a_repeat_carries_the_same_id(self, channel: Channel, stand_in: StandIn) -> None:
        again = message("import.succeeded")
        channel.post(again)
        channel.post(again)
        shown = [self.shown_id(received) for received in stand_in.received]
        assert shown in ([again.id, again.id], [None, None])

    def test_when_asked_to_wait_it_says_how_long(self, channel: Channel, stand_in: StandIn) -> None:
        stand_in.replies.append(Reply(429, "slow down", {"Retry-After": "42"}))
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.retry_after == timedelta(seconds=42)

    def test_a_service_that_is_down_is_tried_again(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(Reply(500, "oops"))
        with pytest.raises(TemporaryFailure):
            channel.post(message("import.failed"))
        channel.post(message("import.failed"))

    def test_a_service_that_cannot_be_reached_is_tried_again(
        self, outbound: HttpClientFactory
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        channel = self.make(f"http://127.0.0.1:{port}{SECRET_PATH}", "en", outbound)
        with pytest.raises(TemporaryFailure) as caught:
            channel.post(message("import.failed"))
        channel.close()
        assert SECRET_PATH not in "".join(traceback.format_exception(caught.value))

    def test_a_refusal_is_final_and_says_what_to_do(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(self.refuses)
        with pytest.raises(PermanentFailure) as caught:
            channel.post(message("import.failed"))
        assert caught.value.hint.en
        assert caught.value.hint.zh

    def test_a_redirect_is_no_success_and_leads_nowhere(
        self, channel: Channel, stand_in: StandIn
    ) -> None:
        stand_in.replies.append(Reply(302, "", {"Location": stand_in.url}))
        with pytest.raises(RelayError):
            channel.post(message("import.failed"))
        assert len(stand_in.received) == 1

    @pytest.mark.parametrize("longer", [1, 100])
    def test_hostile_text_is_harmless(
        self, channel: Channel, stand_in: StandIn, longer: int
    ) -> None:
        text = HOSTILE * longer
        failed = Failed(Problem("x.y", Localized(text, text), Localized(text, text)))
        channel.post(message("import.failed", outcome=failed, key=f"{text}/{text}.zip"))
        self.assert_harmless(stand_in.received[0])

    @pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 410, 429, 500])
    def test_neither_its_url_nor_its_secrets_are_ever_shown(
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
            seen = [channel.post(message("import.failed")).answer]
        except RelayError as error:
            problem = json.dumps(error.problem.to_json(), ensure_ascii=False)
            seen = [str(error), repr(error), problem, error.answer or ""]
        told = "\n".join([*seen, caplog.text])
        assert not [secret for secret in hidden if secret in told]

    def test_a_private_address_is_refused_unless_allowed(self, stand_in: StandIn) -> None:
        channel = self.make(stand_in.url, "en", HttpClientFactory())
        with pytest.raises(PermanentFailure) as caught:
            channel.post(message("import.failed"))
        channel.close()
        assert caught.value.code == "outbound.private"
        assert stand_in.received == []
