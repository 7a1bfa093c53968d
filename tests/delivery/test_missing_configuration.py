"""Deliveries whose source, target or channel left the configuration wait, reported once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.channels.card import build_card
from relay.config.load import Route
from relay.ledger import Configured
from relay.model import Kind, State
from relay.plugins import Plugins
from tests.delivery.test_channel_messages import FakeChat, World

REMOVED = {"source": "sources.s", "target": "targets.prod", "channel": "channels.old"}


class SmallerWorld(World):
    """A world without a source, a target or a channel; the channel "ops" stays."""

    def __init__(self, ledger, missing):
        super().__init__(ledger)
        self.missing = missing
        settings = self.worker.settings
        self.worker.settings = settings.model_copy(
            update={"routes": (Route(name="r", source="s", target="prod", channels=("ops",)),)}
        )
        deliverer = self.worker._deliverer
        plugins = {
            "sources": {} if missing == "source" else {"s": self.plugin},
            "targets": {} if missing == "target" else {"prod": self.plugin},
            "channels": {"ops": self.chat, **({} if missing == "channel" else {"old": FakeChat()})},
        }
        deliverer.plugins = Plugins(**plugins)
        self.configured = Configured(
            frozenset(plugins["sources"]),
            frozenset(
                [(Kind.IMPORT, name) for name in plugins["targets"]]
                + [(Kind.MESSAGE, name) for name in plugins["channels"]]
            ),
            {},
            {},
        )

    def upload_for_both(self, key):
        """Upload an object; "ops" and "old" are told."""
        accept = self.ledger.intake.accept

        def to_both(notification, routed, now):
            [event] = routed
            [new] = event.deliveries
            both = replace(event, deliveries=(replace(new, channels=("ops", "old")),))
            return accept(notification, [both], now)

        self.ledger.intake.accept = to_both
        try:
            return self.upload(key)
        finally:
            self.ledger.intake.accept = accept

    def reports(self):
        return [message for message in self.chat.posted if message.type == "configuration.missing"]


@pytest.fixture(params=REMOVED)
def world(request, ledger):
    return SmallerWorld(ledger, request.param)


def run_for_minutes(world, minutes):
    for _ in range(minutes):
        world.run_due()
        world.now += timedelta(minutes=1, seconds=1)


def test_it_is_reported_once(world):
    for key in ("a.zip", "b.zip"):
        world.upload_for_both(key)
    run_for_minutes(world, 5)
    [report] = world.reports()
    assert report.body["setting"] == REMOVED[world.missing]
    assert report.body["error"]["code"] == f"{REMOVED[world.missing].split('.')[0]}.unknown"
    assert world.ledger.waits.not_configured(world.configured) == [REMOVED[world.missing]]
    kind = Kind.MESSAGE if world.missing == "channel" else Kind.IMPORT
    [group, *more] = world.ledger.waits.backlog(world.configured, world.now).not_configured()
    assert (group.kind, group.number, more) == (kind, 2, [])


def test_it_is_reported_again_after_it_was_back(world):
    world.upload_for_both("a.zip")
    run_for_minutes(world, 2)
    back = replace(
        world.configured,
        sources=frozenset({"s"}),
        destinations=frozenset({(Kind.IMPORT, "prod"), (Kind.MESSAGE, "old")}),
    )
    assert world.ledger.waits.not_configured(back) == []
    world.ledger.waits.forget_configured(back)
    run_for_minutes(world, 2)
    assert len(world.reports()) == 2


def test_the_deliveries_stay_pending(world):
    id_ = world.upload_for_both("a.zip")
    run_for_minutes(world, 30)
    waiting = [world.ledger.history.delivery(id_)]
    if world.missing == "channel":
        messages = world.ledger.history.messages(id_)
        waiting = [message for message in messages if message.destination == "old"]
    assert [delivery.state for delivery in waiting] == [State.PENDING]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_card_names_the_table(ledger, language):
    world = SmallerWorld(ledger, "target")
    world.upload_for_both("a.zip")
    world.run_due()
    [report] = world.reports()
    card = build_card(report.type, report.body, language)
    assert (card.result, card.tone, card.name) == ("missing", "warning", "targets.prod")
    assert card.problem
    assert "targets.prod" in card.problem.value
    assert [link.url for link in card.links]
