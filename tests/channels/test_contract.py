"""The contract of a channel: the example in the documentation works."""

import textwrap

import pytest

from relay.channels import contract
from relay.channels.contract import Posted
from relay.channels.samples import message
from relay.config.load import ChannelSettings
from relay.errors import TemporaryFailure
from relay.outbound.webhook import Poster, PostUrl, refusal
from relay.testing.fake_server import Reply

NAMES = {
    "ChannelSettings": ChannelSettings,
    "PostUrl": PostUrl,
    "Posted": Posted,
    "Poster": Poster,
    "contract": contract,
    "refusal": refusal,
}


@pytest.fixture
def channel(stand_in, outbound):
    start = contract.__doc__.index("    class Channel(")
    end = contract.__doc__.index("`ChannelSettings` is in")
    namespace = {"__name__": "example", **NAMES}
    exec(textwrap.dedent(contract.__doc__[start:end]), namespace)
    channel_class = namespace["Channel"]
    settings = channel_class.Settings(kind="example", url=stand_in.url)
    return channel_class("ops", settings, outbound)


def test_the_example_posts_the_card(channel, stand_in):
    assert channel.post(message("import.failed")) == Posted("200 ok")
    [received] = stand_in.received
    assert received.body.decode().startswith("❌ Import failed: orders – ")
    assert channel.preview(message("import.failed")) is None


def test_the_example_reports_failures(channel, stand_in):
    stand_in.replies.append(Reply(500, "oops"))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
