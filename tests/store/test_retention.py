"""Old history goes; what the next upload is held against stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from relay.ids import id_of, new_id
from relay.model import Kind, State, Verdict
from relay.store import DeliveryQuery, Kept, Store

KEPT = Kept(timedelta(days=90), 1000, timedelta(days=30))


def prune(store: Store, hands: Any, kept: Kept = KEPT) -> tuple[int, int, int]:
    """What a whole round takes away: deliveries, notifications, bodies."""
    before = store.cutoff(kept, hands.now)
    rounds = [[], []]
    for pages, step in (
        (rounds[0], lambda after: store.prune_deliveries(before, after)),
        (
            rounds[1],
            lambda after: store.prune_notifications(
                before, max(before, id_of(hands.now - kept.bodies)), after
            ),
        ),
    ):
        after = ""
        while after is not None:
            pages.append(step(after))
            after = pages[-1].after
    return (
        sum(one.deliveries for one in rounds[0]),
        sum(one.notifications for one in rounds[1]),
        sum(one.bodies for one in rounds[1]),
    )


def keys(store: Store, kind: Kind = Kind.IMPORT) -> list[str]:
    return sorted(one.key for one in store.deliveries(DeliveryQuery(kind=kind)).items)


def finish_messages(hands: Any) -> None:
    while claim := hands.claim(kind=Kind.MESSAGE):
        hands.finish(claim)


def upload(hands: Any, key: str, version: str) -> None:
    hands.done(key, version=version)
    finish_messages(hands)
    hands.later(seconds=1)


def test_ids_sort_by_their_moment(hands: Any) -> None:
    assert id_of(hands.now) <= new_id(hands.now) < id_of(hands.now + timedelta(milliseconds=1))


def test_of_each_object_the_newest_version_stays_however_old(store: Store, hands: Any) -> None:
    for version in "123":
        upload(hands, "a.zip", version)
    upload(hands, "b.zip", "1")
    hands.later(days=365)
    assert prune(store, hands) == (2, 2, 2)
    assert keys(store) == ["a.zip", "b.zip"]
    assert keys(store, Kind.MESSAGE) == ["a.zip", "b.zip"]
    assert prune(store, hands) == (0, 0, 0)
    assert hands.accept(hands.event("a.zip", version="3")).verdict == Verdict.DUPLICATE


def test_what_is_young_stays(store: Store, hands: Any) -> None:
    upload(hands, "a.zip", "1")
    hands.later(days=60)
    upload(hands, "a.zip", "2")
    hands.later(days=20)
    assert prune(store, hands) == (0, 0, 1)
    hands.later(days=11)
    assert prune(store, hands) == (1, 1, 1)


@pytest.mark.parametrize("state", ["pending", "running", "telling"])
def test_what_is_not_finished_stays(store: Store, hands: Any, state: str) -> None:
    hands.deliver_to("prod", "a.zip", version="1")
    if state == "running":
        hands.claimed()
    if state == "telling":
        hands.claim()
        hands.later(seconds=40)
        hands.done("a.zip", version="0")
    hands.later(days=1)
    hands.accept(hands.event("a.zip", version="9"))
    hands.later(days=365)
    assert prune(store, hands)[:2] == (0, 0)


def test_more_than_the_most_go_before_their_time(store: Store, hands: Any) -> None:
    for version in range(6):
        upload(hands, "a.zip", str(version))
    # Twelve rows: six imports, six messages; of the third pair either may be the fifth newest.
    gone = prune(store, hands, Kept(timedelta(days=90), 4, timedelta(days=30)))[0]
    assert gone in (3, 4)
    assert len(keys(store)) == 6 - gone


def test_long_histories_go_page_by_page(store: Store, hands: Any) -> None:
    for number in range(1100):
        hands.accept(hands.event("a.zip", version=str(number)), deliveries=())
        hands.later(milliseconds=1)
    hands.later(days=100)
    assert prune(store, hands) == (0, 1099, 1)


def test_counters_never_go_back(store: Store, hands: Any) -> None:
    for version in "123":
        upload(hands, "a.zip", version)
    hands.accept(hands.event("a.zip", version="3"))
    before = store.attempt_counts(), store.event_counts(), store.notification_counts()
    hands.later(days=365)
    assert prune(store, hands)[0] == 2
    assert (
        store.attempt_counts(),
        store.event_counts(),
        store.notification_counts(),
    ) == before
    upload(hands, "a.zip", "4")
    hands.later(days=365)
    prune(store, hands)
    assert store.event_counts() == {"exports": 4}
    assert store.counts()[Kind.IMPORT, State.SUCCEEDED] == 1


def test_a_body_that_went_is_gone_and_the_rest_of_it_stays(store: Store, hands: Any) -> None:
    accepted = hands.accept(hands.event("a.zip", version="1"))
    hands.later(days=31)
    prune(store, hands)
    kept = store.notification(accepted.notification_id)
    assert kept is not None
    assert (kept.body, kept.verdict, kept.source) == (b"", Verdict.ACCEPTED, "exports")
