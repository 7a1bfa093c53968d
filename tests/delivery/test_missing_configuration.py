"""Deliveries whose source, target or channel left the configuration wait, reported once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.channels.card import build_card
from relay.config.load import Route
from relay.delivery.missing import report_missing
from relay.ledger import Configured, DeliveryQuery
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
    assert world.ledger.missing.paths(world.configured) == [REMOVED[world.missing]]
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
    assert world.ledger.missing.paths(back) == []
    world.ledger.missing.forget_found(back, world.now)
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


class TestPaused:
    """While a destination is paused, no attempt finds out that it is missing."""

    @pytest.fixture
    def world(self, ledger):
        world = SmallerWorld(ledger, "target")
        ledger.destinations.pause(Kind.IMPORT, "prod", world.now)
        for key in ("a.zip", "b.zip"):
            world.upload_for_both(key)
        run_for_minutes(world, 2)
        assert world.reports() == []
        return world

    def report(self, world):
        settings = world.worker.settings.model_copy(update={"targets": {}})
        return report_missing(settings, world.ledger, lambda: world.now)

    def test_a_paused_target_that_left_the_configuration_is_reported_once(self, world):
        assert [self.report(world), self.report(world)] == [1, 0]
        run_for_minutes(world, 2)
        [report] = world.reports()
        assert report.body["setting"] == "targets.prod"
        assert "resume" in report.body["error"]["hint"]["en"]

    def test_after_a_resume_it_is_not_reported_again(self, world):
        assert self.report(world) == 1
        world.ledger.destinations.resume(Kind.IMPORT, "prod", world.now)
        run_for_minutes(world, 3)
        assert len(world.reports()) == 1


def test_deliveries_are_due_as_soon_as_the_table_is_back(world):
    world.upload_for_both("a.zip")
    world.run_due()
    kind = Kind.MESSAGE if world.missing == "channel" else Kind.IMPORT
    back = Configured(
        frozenset({"s"}), frozenset({(Kind.IMPORT, "prod"), (Kind.MESSAGE, "old")}), {}, {}
    )

    def waiting(configured):
        query = DeliveryQuery(kind=kind, state=State.PENDING)
        found = world.ledger.history.deliveries(query).items
        [delivery] = world.ledger.waits.explain(found, configured, world.now)
        return delivery

    assert waiting(world.configured).waiting.reason == "not configured"
    assert waiting(back).waiting.reason == "backoff", "the configuration of now has it"
    world.ledger.missing.forget_found(world.configured, world.now)
    assert waiting(back).due > world.now, "it is still missing"
    world.ledger.missing.forget_found(back, world.now)
    assert waiting(back).due == world.now
    assert waiting(back).waiting is None
