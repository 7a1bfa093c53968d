"""A notification that contradicts the storage is skipped with an explanation."""

import pytest

from relay.model import State
from tests.end_to_end.world import accept


@pytest.mark.parametrize(
    ("change", "announced", "actual"),
    [
        ({"size": 7}, "7 {unit}", "{size}"),
        ({"eTag": "f" * 32}, "f" * 32, "{etag}"),
        ({"eTag": "x" * 500, "size": 7}, "x" * 80 + "…", "{etag}"),
    ],
    ids=["size", "etag", "both"],
)
def test_the_difference_is_named_in_both_languages(world, change, announced, actual):
    relay = world.relay()
    notification = world.upload()
    fields = notification["Records"][0]["s3"]["object"]
    stored = {"size": fields["size"], "etag": fields["eTag"]}
    fields.update(change)
    accept(relay, notification)
    world.start_worker(relay)
    [delivery] = world.settled()
    assert (delivery.state, delivery.reason, delivery.attempts) == (State.SKIPPED, "superseded", 1)
    texts = delivery.result["words"]
    for language, unit in (("en", "bytes"), ("zh", "字节")):
        assert announced.format(unit=unit) in texts[language]
        assert actual.format(**stored) in texts[language]
    assert texts["en"] != texts["zh"]
    assert [call for call in world.sandbox.calls if call.operation == "import"] == []
    [message] = world.webhook_messages()
    assert message.json["type"] == "import.skipped"
    assert message.json["data"]["reason"] == {"code": "superseded", "message": texts["en"]}
