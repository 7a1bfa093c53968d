"""Which delivery is next, and whose it is."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import event as engine_event

from relay.model import Kind, NewDelivery, NewMessage, Skipped, State, Trigger
from relay.store import DeliveryQuery

LEASE = timedelta(seconds=30)
PENDING = DeliveryQuery(state=State.PENDING)
IMPORT_ONE = {(Kind.IMPORT, "prod"): 1}


def test_a_claim_holds_all_that_the_work_needs(store, hands):
    event = hands.event(version="v1", etag="e1", size=5, order="s3:1")
    hands.accept(event)
    hands.later(seconds=1)
    claim = hands.claimed("w1")
    assert claim.event == event
    assert (claim.owner, claim.fence, claim.attempt, claim.earlier) == ("w1", 1, 1, None)
    assert (claim.delivery.state, claim.delivery.attempts) == (State.RUNNING, 1)
    (attempt,) = store.attempts(claim.delivery.id)
    assert (attempt.number, attempt.trigger) == (1, Trigger.AUTOMATIC)
    assert (attempt.started, attempt.finished, attempt.outcome) == (hands.now, None, None)


def test_the_one_due_longest_comes_first(hands):
    late = hands.deliver_to("prod", "late.zip", version="1")
    hands.later(seconds=-60)
    early = hands.deliver_to("test", "early.zip", version="1")
    hands.later(seconds=60)
    assert hands.claimed().delivery.id == early.id
    assert hands.claimed().delivery.id == late.id
    assert hands.claim() is None


def test_what_is_not_due_yet_waits(hands):
    hands.deliver_to("prod", version="1")
    hands.retry(hands.claimed(), seconds=10)
    hands.later(seconds=9.999)
    assert hands.claim() is None
    hands.later(seconds=0.001)
    assert hands.claimed().attempt == 2


def test_a_running_delivery_is_nobody_elses(hands):
    hands.deliver_to("prod", version="1")
    hands.claimed("w1")
    hands.later(seconds=29)
    assert hands.claim("w2") is None


class TestLease:
    def test_a_lease_that_ended_is_taken_over_and_the_attempt_is_lost(self, store, hands):
        started = hands.now
        hands.deliver_to("prod", version="1")
        old = hands.claimed("w1")
        hands.later(seconds=30)
        new = hands.claimed("w2")
        assert (new.delivery.id, new.owner) == (old.delivery.id, "w2")
        assert (new.fence, new.attempt, new.earlier) == (2, 2, started)
        lost, running = store.attempts(old.delivery.id)
        assert (lost.outcome, lost.finished, running.outcome) == ("lost", hands.now, None)

    def test_a_renewed_lease_lasts(self, store, hands):
        hands.deliver_to("prod", version="1")
        claim = hands.claimed()
        hands.later(seconds=20)
        assert store.renew([claim], LEASE, hands.now) == {claim.delivery.id}
        hands.later(seconds=29)
        assert hands.claim("w2") is None

    def test_only_what_is_still_ours_is_renewed(self, store, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        lost, done = hands.claimed("w1"), hands.claimed("w1")
        hands.finish(done)
        hands.later(seconds=31)
        new = hands.claimed("w2")
        assert store.renew([lost, done, new], LEASE, hands.now) == {new.delivery.id}
        assert store.renew([lost, done], LEASE, hands.now) == set()
        assert store.renew([], LEASE, hands.now) == set()

    def test_a_late_finish_writes_nothing(self, store, hands):
        hands.deliver_to("prod", version="1")
        late = hands.claimed("w1")
        hands.later(seconds=31)
        current = hands.claimed("w2")
        message = NewMessage("ops", "import.succeeded", {})
        assert not hands.finish(late, messages=[message])
        assert not store.release(late, hands.now)
        assert hands.read(late.delivery.id).state == State.RUNNING
        assert store.messages(late.delivery.id) == []
        assert [one.outcome for one in store.attempts(late.delivery.id)] == ["lost", None]
        assert hands.finish(current)

    def test_a_finish_after_the_lease_ended_counts_when_nobody_took_over(self, hands):
        hands.deliver_to("prod", version="1")
        claim = hands.claimed()
        hands.later(hours=1)
        assert hands.finish(claim)

    def test_a_second_finish_writes_nothing(self, store, hands):
        hands.deliver_to("prod", version="1")
        claim = hands.claimed()
        assert hands.finish(claim)
        assert not hands.finish(claim, Skipped("gone"))
        assert hands.read(claim.delivery.id).state == State.SUCCEEDED

    def test_a_worker_known_to_be_dead_loses_all_at_once(self, store, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        dead, alive = [hands.claimed("dead"), hands.claimed("dead")], hands.claimed("alive")
        assert store.owners() == {"dead", "alive"}
        hands.later(seconds=1)
        assert store.reclaim("dead", hands.now) == 2
        assert store.reclaim("dead", hands.now) == 0
        assert store.owners() == {"alive"}
        assert hands.read(dead[0].delivery.id).due == hands.now
        assert [one.outcome for one in store.attempts(dead[0].delivery.id)] == ["lost"]
        assert not hands.finish(dead[0])
        assert hands.finish(alive)
        assert hands.claimed("w2").earlier is not None

    def test_a_released_delivery_is_due_again_and_the_try_does_not_count(self, store, hands):
        started = hands.now
        hands.deliver_to("prod", version="1")
        claim = hands.claimed("w1")
        hands.later(seconds=5)
        assert store.release(claim, hands.now)
        assert [one.outcome for one in store.attempts(claim.delivery.id)] == ["released"]
        again = hands.claimed("w2")
        assert (again.attempt, again.delivery.attempts) == (1, 2)
        assert again.earlier == started, "the stopped worker may have got through"


class TestLimits:
    def test_no_more_than_the_limit_run_at_once(self, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        limits = {(Kind.IMPORT, "prod"): 2}
        first = hands.claimed(limits=limits)
        hands.claimed(limits=limits)
        assert hands.claim(limits=limits) is None
        hands.finish(first)
        hands.claimed(limits=limits)

    def test_a_full_destination_does_not_stop_the_others(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.later(seconds=1)
        other = hands.deliver_to("test", "c.zip", version="1")
        hands.claimed(limits=IMPORT_ONE)
        assert hands.claimed(limits=IMPORT_ONE).delivery.id == other.id

    def test_an_ended_lease_does_not_count_against_the_limit(self, hands):
        hands.deliver_to("prod", version="1")
        hands.claimed("w1", limits=IMPORT_ONE)
        hands.later(seconds=31)
        assert hands.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_an_ended_lease_at_a_full_destination_waits(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.claimed("w1")
        hands.later(seconds=31)
        # The other one starts; nobody has taken over the first one yet.
        other = hands.claimed("w2", only=hands.store.deliveries(PENDING).items[0].id)
        assert hands.claim("w2", limits=IMPORT_ONE) is None
        hands.finish(other)
        assert hands.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_limits_of_imports_are_not_those_of_messages(self, hands):
        hands.done()
        hands.deliver_to("ops", "b.zip", version="1")
        limits = {(Kind.IMPORT, "ops"): 0}
        assert hands.claimed(limits=limits).delivery.kind == Kind.MESSAGE
        assert hands.claim(limits=limits) is None


class TestHolds:
    def test_a_hold_stops_its_destination_until_then(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.deliver_to("test", "c.zip", version="1")
        hands.retry(hands.claimed(limits={(Kind.IMPORT, "test"): 0}), seconds=60, hold=True)
        other = hands.claimed()
        assert other.delivery.destination == "test"
        hands.finish(other)
        hands.later(seconds=59)
        assert hands.claim() is None
        hands.later(seconds=1)
        assert hands.claimed().delivery.destination == "prod"

    def test_a_shorter_hold_does_not_end_a_longer_one(self, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        first, second = hands.claimed(), hands.claimed()
        hands.retry(first, seconds=60, hold=True)
        hands.retry(second, seconds=10, hold=True)
        hands.later(seconds=30)
        assert hands.claim() is None

    def test_a_longer_hold_lengthens_a_shorter_one(self, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        first, second = hands.claimed(), hands.claimed()
        hands.retry(first, seconds=10, hold=True)
        hands.retry(second, seconds=60, hold=True)
        hands.later(seconds=30)
        assert hands.claim() is None

    def test_a_retry_without_hold_stops_nobody_else(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.retry(hands.claimed(), seconds=60)
        hands.claimed()


class TestOneObject:
    """Imports of one object by one route run one after the other."""

    def test_its_versions_never_run_at_once(self, hands):
        hands.deliver_to("prod", version="1")
        hands.deliver_to("prod", version="2")
        first = hands.claimed()
        assert hands.claim() is None
        hands.finish(first)
        assert hands.claimed().delivery.id != first.delivery.id

    @pytest.mark.parametrize("other", [{"key": "b.zip"}, {"bucket": "b"}, {"route": "r2"}])
    def test_other_objects_and_routes_run_beside_it(self, hands, other):
        hands.deliver_to("prod", version="1")
        hands.deliver_to("prod", **{"version": "2", **other})
        hands.claimed()
        hands.claimed()

    def test_the_same_object_of_another_source_runs_beside_it(self, hands):
        hands.accept(hands.event(version="1"), source="one")
        hands.accept(hands.event(version="1"), source="two")
        hands.claimed()
        hands.claimed()

    def test_two_ended_leases_do_not_block_each_other_for_ever(self, hands):
        hands.deliver_to("prod", version="1")
        hands.claimed("w1")
        hands.later(seconds=31)
        hands.deliver_to("prod", version="2")
        second = hands.store.deliveries(PENDING).items[0]
        hands.claimed("w1", only=second.id)
        hands.later(seconds=31)
        hands.finish(hands.claimed("w2"))
        hands.claimed("w2")

    def test_its_messages_run_beside_its_import(self, hands):
        hands.done()
        hands.deliver_to("prod", version="2")
        kinds = {hands.claimed().delivery.kind, hands.claimed().delivery.kind}
        assert kinds == {Kind.IMPORT, Kind.MESSAGE}


class TestChoice:
    def test_of_one_kind_only(self, hands):
        hands.done()
        hands.deliver_to("prod", "b.zip", version="1")
        assert hands.claimed(kind=Kind.MESSAGE).delivery.kind == Kind.MESSAGE
        assert hands.claim(kind=Kind.MESSAGE) is None
        assert hands.claimed(kind=Kind.IMPORT).delivery.kind == Kind.IMPORT

    def test_an_ended_lease_of_the_other_kind_is_left_alone(self, hands):
        hands.deliver_to("prod", version="1")
        hands.claimed()
        hands.later(seconds=31)
        assert hands.claim(kind=Kind.MESSAGE) is None
        assert hands.claimed(kind=Kind.IMPORT).attempt == 2

    def test_exactly_one(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        wanted = hands.deliver_to("prod", "b.zip", version="1")
        assert hands.claimed(only=wanted.id).delivery.id == wanted.id
        assert hands.claim(only=wanted.id) is None
        assert hands.claim(only="unknown") is None

    def test_exactly_one_heeds_the_limit_too(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        wanted = hands.deliver_to("prod", "b.zip", version="1")
        hands.claimed(limits=IMPORT_ONE)
        assert hands.claim(only=wanted.id, limits=IMPORT_ONE) is None

    def test_a_message_has_no_event_but_its_text(self, hands):
        hands.done()
        claim = hands.claimed(kind=Kind.MESSAGE)
        assert claim.event is None
        assert claim.delivery.message["type"] == "import.succeeded"


class TestEarlier:
    """Since when the destination may have been reached without our knowing."""

    def test_is_the_first_attempt_whose_end_is_not_known_for_certain(self, hands):
        hands.deliver_to("prod", version="1")
        started = hands.now
        hands.retry(hands.claimed())
        hands.later(seconds=10)
        hands.retry(hands.claimed())
        hands.later(seconds=10)
        assert hands.claimed().earlier == started

    def test_does_not_reach_back_behind_a_success(self, hands):
        hands.deliver_to("prod", version="1")
        hands.retry(hands.claimed())
        hands.later(seconds=10)
        claim = hands.claimed()
        hands.finish(claim)
        hands.store.retrigger(claim.delivery.id, hands.now)
        again = hands.claimed()
        assert (again.earlier, again.attempt) == (None, 1)
        started = hands.now
        hands.retry(again)
        hands.later(seconds=10)
        assert hands.claimed().earlier == started


def test_eight_threads_claim_two_hundred_deliveries_each_once(store, hands):
    for start in range(0, 200, 50):
        events = [hands.event(f"{n}.zip", version="1") for n in range(start, start + 50)]
        hands.accept(*events)
    claimed: list[str] = []

    def work(owner: str) -> None:
        while (claim := hands.claim(owner)) is not None:
            claimed.append(claim.delivery.id)
            assert hands.finish(claim)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 200
    assert max(Counter(claimed).values()) == 1
    assert store.counts() == {(Kind.IMPORT, State.SUCCEEDED): 200}


def test_a_claim_looks_into_indexes_only(store, hands):
    if not store._database.is_sqlite:
        pytest.skip("the plan is read in SQLite's words")
    hands.done()
    hands.deliver_to("prod", "b.zip", version="1")
    hands.deliver_to("test", "c.zip", version="1")
    plans = explained(store, hands.claimed)
    assert plans, "no statement was seen"
    scans = [step for step in plans if step.startswith("SCAN") and step != "SCAN holds"]
    assert scans == []
    assert any("ix_deliveries_due (kind=? AND destination=? AND due<?)" in one for one in plans)
    assert any("ix_deliveries_due (kind=? AND destination>?)" in one for one in plans)
    assert any("other USING INDEX ix_deliveries_leased (key=?" in one for one in plans)


def test_ten_thousand_deliveries_behind_a_closed_lane_cost_no_more_than_one(store, hands):
    wanted = tuple(NewDelivery("r", "prod", {}) for _ in range(100))
    for n in range(20):
        hands.accept(hands.event(f"{n}.zip", version="1"), deliveries=wanted)
    statements: list[str] = []
    engine_event.listen(
        store._database._engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2]),
    )
    assert hands.claim(limits={(Kind.IMPORT, "prod"): 0}) is None
    assert len(statements) < 12


def explained(store, act):
    """The steps by which SQLite runs the statements of `act`."""
    engine = store._database._engine
    seen: list[tuple[str, object]] = []

    def listener(*arguments):
        seen.append((arguments[2], arguments[3]))

    engine_event.listen(engine, "before_cursor_execute", listener)
    act()
    engine_event.remove(engine, "before_cursor_execute", listener)
    with engine.connect() as connection:
        return [
            row[3]
            for statement, values in seen
            if statement.startswith(("SELECT", "UPDATE"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]
