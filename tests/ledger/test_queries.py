"""Tests of reading records, lists, counts, and newer events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.errors import Rejected
from relay.ledger import Configured, DeliveryQuery
from relay.model import Failed, Kind, NewDelivery, Skipped, State, Verdict

CONFIGURED = Configured(
    frozenset({"exports"}), frozenset({(Kind.IMPORT, "prod"), (Kind.MESSAGE, "ops")}), {}, {}
)


def keys(page):
    return [delivery.key for delivery in page.items]


class TestSingleRecords:
    def test_an_unknown_record_is_none(self, ledger):
        assert ledger.history.delivery("x") is None
        assert ledger.history.event("x") is None
        assert ledger.history.notification("\udcff") is None
        assert (
            ledger.history.attempts("x")
            == ledger.history.messages("x")
            == ledger.history.event_deliveries("x")
            == []
        )

    def test_the_deliveries_of_an_event_are_the_imports_without_messages(self, ledger, driver):
        delivery = driver.done(version="v1")
        assert ledger.history.messages(delivery.id)
        assert ledger.history.event_deliveries(delivery.event_id) == [delivery]


class TestDeliveries:
    @pytest.fixture
    def ten_deliveries(self, driver):
        for n in range(10):
            driver.deliver_to("prod", f"prod/{n}.zip", version="1")
            driver.later(seconds=1)

    def test_are_sorted_newest_first(self, ledger, driver, ten_deliveries):
        wanted = [f"prod/{n}.zip" for n in reversed(range(10))]
        page = ledger.history.deliveries(DeliveryQuery())
        assert (keys(page), page.next_cursor) == (wanted, None)

    def test_pages_are_stable_while_deliveries_are_added(self, ledger, driver, ten_deliveries):
        seen, cursor = [], None
        for _ in range(4):
            page = ledger.history.deliveries(DeliveryQuery(limit=3, cursor=cursor))
            seen += keys(page)
            cursor = page.next_cursor
            driver.deliver_to("prod", f"new/{driver.now}.zip", version="1")
            driver.later(seconds=1)
        assert seen == [f"prod/{n}.zip" for n in reversed(range(10))]
        assert cursor is None

    def test_a_page_that_ends_exactly_has_no_next_cursor(self, ledger, ten_deliveries):
        assert ledger.history.deliveries(DeliveryQuery(limit=10)).next_cursor is None
        assert ledger.history.deliveries(DeliveryQuery(limit=9)).next_cursor is not None

    @pytest.mark.parametrize(
        ("glob", "count"),
        [
            ("prod/*", 10),
            ("prod/3.zip", 1),
            ("prod/?.zip", 10),
            ("prod/[3-5].zip", 3),
            ("prod/[!3].zip", 9),
            ("*[!3]*.zip", 10),
            ("*/9*", 1),
            ("PROD/*", 0),
            ("od/*", 0),
        ],
    )
    def test_filter_by_a_glob_over_the_key(self, ledger, ten_deliveries, glob, count):
        assert len(ledger.history.deliveries(DeliveryQuery(key=glob)).items) == count

    def test_filter_by_everything_at_once(self, ledger, driver):
        driver.done("prod/a.zip", version="1")
        driver.deliver_to("prod", "prod/b.zip", version="1", route="r2")
        driver.deliver_to("prod", "prod/c.zip", version="1", bucket="other")
        every = [
            ({"state": State.SUCCEEDED}, ["prod/a.zip"]),
            ({"kind": Kind.MESSAGE}, ["prod/a.zip"]),
            ({"route": "r2"}, ["prod/b.zip"]),
            ({"bucket": "oth*"}, ["prod/c.zip"]),
            ({"source": "nobody"}, []),
            ({"state": State.PENDING, "kind": Kind.IMPORT, "bucket": "exports"}, ["prod/b.zip"]),
        ]
        for wanted, expected in every:
            assert keys(ledger.history.deliveries(DeliveryQuery(**wanted))) == expected, wanted

    def test_since_is_inclusive_and_until_is_exclusive(self, ledger, driver, ten_deliveries):
        start = driver.now - timedelta(seconds=10)
        query = DeliveryQuery(
            since=start + timedelta(seconds=2), until=start + timedelta(seconds=4)
        )
        assert keys(ledger.history.deliveries(query)) == ["prod/3.zip", "prod/2.zip"]

    @pytest.mark.parametrize("cursor", ["", "x", "AAAA", "é", "\ud800", "a" * 999, "JyBPUiAxPTE="])
    def test_an_invalid_cursor_is_refused(self, ledger, cursor):
        with pytest.raises(Rejected) as caught:
            ledger.history.deliveries(DeliveryQuery(cursor=cursor))
        assert caught.value.code == "cursor"

    @pytest.mark.parametrize("limit", [0, -1, 201])
    def test_a_limit_outside_1_to_200_is_refused(self, ledger, limit):
        with pytest.raises(Rejected, match="1 to 200"):
            ledger.history.deliveries(DeliveryQuery(limit=limit))

    def test_an_invalid_glob_is_refused_with_an_explanation(self, ledger):
        with pytest.raises(Rejected, match="closes"):
            ledger.history.deliveries(DeliveryQuery(key="a[b"))


def test_notifications_are_paged_newest_first(ledger, driver):
    ids = []
    for _ in range(5):
        ids.append(driver.accept(driver.event(version="1")).notification_id)
        driver.later(seconds=1)
    first = ledger.history.notifications(limit=3)
    rest = ledger.history.notifications(limit=3, cursor=first.next_cursor)
    assert [delivery.id for delivery in first.items + rest.items] == ids[::-1]
    assert rest.next_cursor is None
    with pytest.raises(Rejected):
        ledger.history.notifications(cursor="nonsense")


class TestCounts:
    def test_of_an_empty_ledger_are_empty(self, ledger, driver):
        assert (
            ledger.statistics.counts()
            == ledger.waits.backlog(CONFIGURED, driver.now).oldest_due()
            == ledger.statistics.last_events()
            == {}
        )
        assert ledger.statistics.attempt_counts() == ledger.statistics.notification_counts() == {}

    def test_count_deliveries_attempts_and_notifications(self, ledger, driver):
        driver.done("a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.retry(driver.claimed(kind=Kind.IMPORT))
        driver.accept(driver.event("b.zip", version="1"))
        assert ledger.statistics.counts() == {
            (Kind.IMPORT, State.SUCCEEDED): 1,
            (Kind.IMPORT, State.PENDING): 1,
            (Kind.MESSAGE, State.PENDING): 1,
        }
        assert ledger.statistics.attempt_counts() == {
            (Kind.IMPORT, "prod", "succeeded"): 1,
            (Kind.IMPORT, "prod", "retry"): 1,
        }
        assert ledger.statistics.notification_counts() == {
            ("exports", Verdict.ACCEPTED): 2,
            ("exports", Verdict.DUPLICATE): 1,
        }

    def test_events_are_counted_by_source_each_upload_once(self, ledger, driver):
        assert ledger.statistics.event_counts() == {}
        driver.accept(driver.event(version="1"), driver.event(version="2"))
        driver.accept(driver.event(version="1"))
        driver.accept(driver.event(version="1"), source="other")
        assert ledger.statistics.event_counts() == {"exports": 2, "other": 1}

    def test_a_running_attempt_is_not_counted_yet(self, ledger, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed()
        assert ledger.statistics.attempt_counts() == {}

    def test_the_oldest_due_delivery_is_measured_in_seconds_by_kind(self, ledger, driver):
        driver.done(version="1")
        driver.later(seconds=5)
        driver.deliver_to("prod", "b.zip", version="1")
        driver.later(seconds=2.5)
        assert ledger.waits.backlog(CONFIGURED, driver.now).oldest_due() == {
            Kind.IMPORT: 2.5,
            Kind.MESSAGE: 7.5,
        }

    def test_future_and_running_deliveries_are_not_overdue(self, ledger, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.retry(driver.claimed(), seconds=60)
        driver.claimed()
        driver.later(seconds=10)
        assert ledger.waits.backlog(CONFIGURED, driver.now).oldest_due() == {}

    def test_a_delivery_with_an_expired_lease_is_overdue_since_then(self, ledger, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed()
        driver.later(seconds=37)
        assert ledger.waits.backlog(CONFIGURED, driver.now).oldest_due() == {Kind.IMPORT: 7.0}

    def test_the_last_event_is_the_last_new_event(self, ledger, driver):
        driver.accept(driver.event(version="1"))
        last = driver.now
        driver.later(seconds=9)
        driver.accept(driver.event(version="1"))
        driver.accept(driver.event(version="2", time=None), source="other")
        assert ledger.statistics.last_events() == {"exports": last, "other": driver.now}


class TestNewer:
    """Whether an event of an object supersedes another: certainly, perhaps, or no."""

    ROUTE = "exports#1"

    def newer(self, driver, mine, other, **more):
        driver.accept(mine)
        driver.later(seconds=more.pop("arrives", 1))
        driver.accept(other, **more)
        return self.compare(driver, mine, other)

    def compare(self, driver, mine, other):
        ids = [
            driver.ledger.history.newer_event(mine.id_in("exports"), self.ROUTE, possibly=possibly)
            for possibly in (False, True)
        ]
        assert set(ids) <= {None, other.id_in("exports")}
        assert ids[0] is None or ids[1], "what is certain is possible"
        return "certainly" if ids[0] else "perhaps" if ids[1] else "no"

    def test_the_order_is_more_reliable_than_the_times(self, driver):
        mine = driver.event(version="1", order="s3:0002")
        assert self.newer(driver, mine, driver.event(version="2", order="s3:0001")) == "no"
        later = driver.event(version="3", order="s3:0003", time=driver.now - timedelta(hours=1))
        assert self.newer(driver, mine, later) == "certainly"

    def test_an_equal_order_is_inconclusive(self, driver):
        mine = driver.event(version="1", order="s3:1")
        same = driver.event(version="2", order="s3:1", time=driver.now - timedelta(hours=1))
        assert self.newer(driver, mine, same) == "perhaps"

    @pytest.mark.parametrize("order", ["", "ceph:9", "s3"])
    def test_time_is_inconclusive_if_the_orders_are_not_comparable(self, driver, order):
        mine = driver.event(version="1", order="s3:5")
        older = driver.event(version="2", order=order, time=driver.now - timedelta(seconds=3))
        assert self.newer(driver, mine, older) == "no"
        younger = driver.event(version="3", order=order, time=driver.now + timedelta(seconds=9))
        assert self.newer(driver, mine, younger) == "perhaps"

    @pytest.mark.parametrize("seconds", [-2, 0, 2])
    def test_nearly_equal_times_are_inconclusive(self, driver, seconds):
        other = driver.event(version="2", time=driver.now + timedelta(seconds=seconds))
        assert self.newer(driver, driver.event(version="1"), other) == "perhaps"

    def test_an_unknown_time_is_inconclusive(self, driver):
        mine = driver.event(version="1", time=driver.now + timedelta(days=1))
        other = driver.event(version="2", time=None)
        assert self.newer(driver, mine, other) == "perhaps"
        assert self.compare(driver, other, mine) == "perhaps"

    def test_an_event_found_later_is_inconclusive_regardless_of_the_listed_time(self, driver):
        mine = driver.event(etag="A")
        driver.later(hours=1)
        began = driver.now - timedelta(hours=3)
        other = driver.event(etag="B-7", type="found", time=began)
        assert self.newer(driver, mine, other) == "perhaps"

    def test_an_event_found_earlier_is_older(self, driver):
        other = driver.event(etag="A", type="found")
        driver.accept(other)
        driver.later(hours=1)
        mine = driver.event(etag="B")
        driver.accept(mine)
        assert self.compare(driver, mine, other) == "no"

    def test_other_objects_do_not_count(self, driver):
        mine = driver.event("a.zip", version="1", order="s3:1")
        more = {"version": "2", "time": driver.now + timedelta(seconds=1), "order": "s3:2"}
        other = driver.event("b.zip", **more)
        assert self.newer(driver, mine, other) == "no"
        driver.accept(driver.event("a.zip", bucket="other", **more))
        driver.accept(driver.event("a.zip", **more), source="other")
        assert self.compare(driver, mine, other) == "no"

    def test_only_events_of_the_same_route_count(self, driver):
        mine = driver.event(version="1")
        later = driver.event(version="2", time=driver.now + timedelta(seconds=1))
        other_route = (NewDelivery("exports#2", "prod", {}),)
        assert self.newer(driver, mine, later, deliveries=other_route) == "no"

    @pytest.mark.parametrize("route", ["", ROUTE])
    def test_an_event_without_a_destination_supersedes_nothing(self, driver, route):
        nowhere = (NewDelivery(route, "", {}, state=State.SKIPPED, reason="no route"),)
        later = driver.event(version="2", time=driver.now + timedelta(seconds=1))
        mine = driver.event(version="1")
        assert self.newer(driver, mine, later, deliveries=nowhere) == "no"

    @pytest.mark.parametrize("end", ["failed", "skipped"])
    def test_a_newer_event_counts_with_any_outcome(self, driver, end):
        mine = driver.event(version="1", order="s3:1")
        later = driver.event(version="2", order="s3:2")
        assert self.newer(driver, mine, later) == "certainly"
        ends = {"failed": Failed(driver.problem), "skipped": Skipped("gone")}
        for delivery in driver.ledger.history.event_deliveries(later.id_in("exports")):
            driver.finish(driver.claimed(only=delivery.id), ends[end])
        assert self.compare(driver, mine, later) == "certainly"

    def test_an_unknown_event_has_no_newer_event(self, ledger):
        assert ledger.history.newer_event("nobody", self.ROUTE) is None
        assert ledger.history.newer_event("nobody", self.ROUTE, possibly=True) is None
