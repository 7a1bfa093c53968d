"""A notification that does not say what the storage holds is told as such; nothing is called."""

import json

import pytest

from relay.model import Incoming, State, utc_now


@pytest.mark.parametrize(
    ("lie", "announced", "held"),
    [
        ({"size": 7}, "7 {unit}", "{size}"),
        ({"eTag": "f" * 32}, "f" * 32, "{etag}"),
        ({"eTag": "x" * 500, "size": 7}, "x" * 80 + "…", "{etag}"),
    ],
    ids=["size", "etag", "both"],
)
def test_what_differs_is_named_in_both_languages(world, lie, announced, held):
    relay = world.relay()
    record = world.upload()
    told = record["Records"][0]["s3"]["object"]
    truth = {"size": told["size"], "etag": told["eTag"]}
    told.update(lie)
    headers = {"authorization": "Bearer hook-token-of-the-tests"}
    body = json.dumps(record).encode()
    relay.intake.accept(Incoming("exports", body, utc_now(), headers=headers))
    relay.start_worker()
    world.stack.callback(relay.stop_worker, 5)
    [delivery] = world.settled()
    assert (delivery.state, delivery.reason, delivery.attempts) == (State.SKIPPED, "superseded", 1)
    words = delivery.result["words"]
    for language, unit in (("en", "bytes"), ("zh", "字节")):
        assert announced.format(unit=unit) in words[language]
        assert held.format(**truth) in words[language]
    assert words["en"] != words["zh"]
    assert [call for call in world.sandbox.calls if call.operation == "import"] == []
    [message] = [one for one in world.inbox.messages if one.channel == "webhook"]
    assert message.json["type"] == "import.skipped"
    assert message.json["data"]["reason"] == {"code": "superseded", "message": words["en"]}
