"""I5: compares the posted messages of each channel with the outcomes: once each, the last true."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.torture.ledger import Row

if TYPE_CHECKING:
    from relay.testing.sandbox.inbox import ReceivedMessage
    from tests.torture.world import World


@dataclass(frozen=True, slots=True)
class Result:
    """A result that a posted message states. `message`: the id of the message."""

    channel: str
    message: str
    delivery: str
    kind: str
    key: str


def false_messages(world: World, imports: list[Row]) -> Iterator[str]:
    """Yield a sentence for each outcome that was not posted, and each posted result that is false.

    A message that a newer one about the same object replaced needs not be posted.
    """
    final = [row for row in imports if not row.is_open and row.reason != "no route"]
    for channel in world.options.channels:
        results = [result for result in posted_results(world) if result.channel == channel]
        yield from _of_channel(world, channel, results, final)


def _of_channel(
    world: World, channel: str, results: list[Result], final: list[Row]
) -> Iterator[str]:
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for result in results:
        ids[result.delivery, result.kind].add(result.message)
    replaced = _replaced(world, channel)
    for row in final:
        number = len(ids[row.id, _kind(row)])
        if number != 1 and not (number == 0 and row.id in replaced):
            yield f"I5 {row.key} {row.state} is in {number} different messages"
    true = {(row.id, _kind(row)) for row in final}
    for delivery, kind in ids:
        is_known = (delivery, kind) in true or delivery in world.retriggered
        if kind.startswith("import.") and not is_known:
            yield f"I5 a message says {kind} of {delivery}, which is false"
    yield from _false_endings(results, final)


def posted_results(world: World) -> Iterator[Result]:
    """Yield the results in all accepted messages, in the order of arrival. A digest has several."""
    for message in world.inbox.messages:
        if message.status == 204 and message.json is not None:
            yield from _results(message, message.json)


def _results(message: ReceivedMessage, body: dict[str, Any]) -> Iterator[Result]:
    name, data = message.webhook_id or "", body["data"]
    channel = message.path.rpartition("/")[2]
    if body["type"] != "digest":
        yield Result(channel, name, str(data.get("delivery")), body["type"], str(data.get("key")))
        return
    for item in data["deliveries"]:
        yield Result(channel, name, item["delivery"], f"import.{item['result']}", item["key"])


def _replaced(world: World, channel: str) -> set[str]:
    """Return the deliveries whose message was replaced by one that was posted, also in a digest."""
    rows = world.ledger.deliveries("message")
    messages = {row.id: row for row in rows if row.destination == channel}
    found = set()
    for row in messages.values():
        last: Row | None = row
        while last is not None and last.reason == "superseded":
            last = messages.get(last.result.get("replaced_by", ""))
        is_posted = last is not None and (last.state == "succeeded" or last.reason == "digest")
        if last is not row and is_posted and row.parent:
            found.add(row.parent)
    return found


def _false_endings(results: list[Result], final: list[Row]) -> Iterator[str]:
    """Yield the objects whose last message is not about the outcome that was recorded last."""
    last = {result.key: result for result in results if result.kind.startswith("import.")}
    newest: dict[str, Row] = {}
    for row in sorted(final, key=lambda row: row.finished or 0):
        newest[row.key] = row
    for key, row in newest.items():
        posted = last.get(key)
        if posted is not None and (posted.delivery, posted.kind) != (row.id, _kind(row)):
            yield f"I5 the last message about {key} says {posted.kind} of {posted.delivery}"


def _kind(row: Row) -> str:
    return f"import.{row.state}"
