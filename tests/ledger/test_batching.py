"""A channel that is told much is told in digests, at night only what is urgent; nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from relay.channels.messages import digest_body
from relay.config.load import ChannelSettings
from relay.config.units import RateLimit
from relay.ledger import DeliveryQuery, Ledger, LedgerUnavailable, RetentionPolicy
from relay.ledger.outcomes import message_row
from relay.ledger.schema import deliveries
from relay.model import Failed, Kind, NewMessage, Retry, State, Succeeded, Trigger

from .plans import statements, steps

CHAT = ChannelSettings(kind="slack", burst=10)
RATE = RateLimit(20, timedelta(minutes=1))
KEPT = RetentionPolicy(timedelta(days=90), 1000, timedelta(days=30))
URL = "https://relay.example.com"
COMPOSE = partial(digest_body, URL)


class Team:
    """Makes messages for the channel "ops", works them off as a worker does, and keeps what the
    service was given: when, under which id, and what it told."""

    def __init__(self, driver: Any, channel: ChannelSettings = CHAT) -> None:
        self.driver = driver
        self.channel = channel
        self.made: list[str] = []
        self.posts: list[tuple[datetime, str, list[str]]] = []
        self.error: Retry | Failed | None = None

    @property
    def ledger(self) -> Ledger:
        return self.driver.ledger

    def tell(self, count: int = 1, result: str = "succeeded", **body: Any) -> list[str]:
        """That many messages come to be with the end of one import; returns whom they tell of."""
        ids = [f"d{len(self.made) + number:05}" for number in range(count)]
        self.made += ids
        error = self.driver.problem.to_json() if result == "failed" else None
        rest = {"recovered": None, "error": error, **body}
        told = [NewMessage("ops", f"import.{result}", {"delivery": one, **rest}) for one in ids]
        self.an_import_ends(told)
        return ids

    def an_import_ends(self, told: list[NewMessage]) -> Any:
        key = f"{len(self.made):05}.zip"
        delivery = self.driver.deliver_to("prod", key, version=str(self.driver.now))
        claim = self.driver.claimed(kind=Kind.IMPORT, only=delivery.id)
        assert self.driver.finish(claim, messages=told)
        return delivery

    def turned(self, word: str) -> None:
        """The target's state is told, by whatever import ended then."""
        new = NewMessage("ops", f"target.{word}", {"target": "prod"})
        row = message_row(new, self.driver.now)
        with self.ledger._database.write() as connection:
            connection.execute(deliveries.insert(), row)

    def claim(self) -> Any:
        return self.driver.claim(kind=Kind.MESSAGE, rates=self.rates)

    @property
    def rates(self) -> Any:
        return {(Kind.MESSAGE, "ops"): self.channel.rate} if self.channel.rate else {}

    def ask(self, claim: Any) -> str:
        return self.ledger.batching.decide_post(claim, self.channel, COMPOSE, self.driver.now)

    def turn(self) -> str | None:
        """One claim, and what came of it; None: nothing was due."""
        claim = self.claim()
        return None if claim is None else self.carry_out(claim)

    def carry_out(self, claim: Any) -> str:
        say = self.ask(claim)
        if say == "post":
            self.post(claim)
        return say

    def post(self, claim: Any) -> None:
        if self.error is not None:
            due = self.driver.now + (getattr(self.error, "after", None) or timedelta(seconds=10))
            assert self.driver.finish(claim, self.error, due=due)
            return
        self.posts.append((self.driver.now, claim.delivery.id, told_in(claim.delivery.message)))
        assert self.driver.finish(claim)

    def drain(self) -> list[str]:
        """Everything that is due now."""
        said = []
        while (say := self.turn()) is not None:
            said.append(say)
        return said

    def wait(self, seconds: int) -> None:
        """Works on for that many seconds."""
        for _ in range(seconds // 5):
            self.drain()
            self.driver.later(seconds=5)
        self.drain()

    @property
    def told(self) -> list[str]:
        return [one for _, _, ids in self.posts for one in ids]

    def messages(self) -> list[Any]:
        found, cursor = [], None
        while True:
            query = DeliveryQuery(kind=Kind.MESSAGE, limit=200, cursor=cursor)
            page = self.ledger.history.deliveries(query)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    def digests(self) -> list[Any]:
        return [one for one in self.messages() if one.message["type"] == "digest"]


def told_in(message: Any) -> list[str]:
    if message["type"] == "digest":
        return [one["delivery"] for one in message["body"]["deliveries"]]
    return [message["body"].get("delivery", message["type"])]


@pytest.fixture
def team(driver: Any) -> Team:
    return Team(driver)


def night(driver: Any, **more: Any) -> Team:
    """It is 12:00 in Greenwich and 20:00 in Shanghai: quiet until 07:00 there, 23:00 here."""
    asleep = {"quiet_hours": "19:00-07:00", "timezone": "Asia/Shanghai"}
    return Team(driver, ChannelSettings(kind="slack", **{**asleep, "burst": 10, **more}))


class TestBursts:
    def test_as_many_as_the_burst_are_told_one_by_one(self, team):
        team.tell(10)
        assert team.drain() == ["post"] * 10
        assert sorted(team.told) == sorted(team.made)

    def test_what_waits_beyond_that_is_told_in_one_failures_first(self, team, driver):
        fine = team.tell(9)
        driver.later(seconds=3)
        broken = team.tell(2, "failed", links={"delivery": "x"})
        skipped = team.tell(1, "skipped")
        assert team.drain() == ["digest", "post"]
        [made] = team.digests()
        body = made.message["body"]
        listed = [one["delivery"] for one in body["deliveries"]]
        assert [sorted(listed[:2]), sorted(listed[2:11]), listed[11:]] == [broken, fine, skipped]
        assert body["results"] == {"failed": 2, "succeeded": 9, "skipped": 1}
        assert (body["count"], body["deliveries"][0]["result"]) == (12, "failed")
        assert body["deliveries"][0]["error"]["code"] == "api.busy"
        assert body["deliveries"][0]["links"] == {"delivery": "x"}
        assert (body["since"], body["until"]) == (
            "2026-05-01T12:00:00+00:00",
            made.message["body"]["until"],
        )
        assert body["links"] == {"deliveries": f"{URL}/deliveries/{made.id}"}
        assert (made.state, made.parent, made.source) == (State.SUCCEEDED, None, "")

    def test_what_is_told_in_a_digest_has_ended_and_says_where(self, team, ledger):
        team.tell(11)
        team.drain()
        [made] = team.digests()
        single = [one for one in team.messages() if one.id != made.id]
        assert {(one.state, one.reason, one.result["digest"]) for one in single} == {
            (State.SKIPPED, "digest", made.id)
        }
        assert all(one.finished and one.due is None and not one.error for one in single)
        assert all(ledger.history.attempts(one.id) == [] and one.attempts == 0 for one in single)
        assert ledger.statistics.counts()[Kind.MESSAGE, State.SKIPPED] == 11

    def test_after_a_burst_what_comes_within_the_minute_is_one_digest(self, team, driver):
        team.tell(10)
        team.drain()
        driver.later(seconds=5)
        team.tell(3)
        assert team.drain() == ["wait"]
        driver.later(seconds=54)
        assert team.drain() == []
        driver.later(seconds=1)
        assert team.drain() == ["post", "post", "post"]

    def test_more_than_ten_in_a_minute_go_on_in_digests_of_a_minute(self, team, driver):
        for _ in range(5 * 12):
            team.tell()
            team.drain()
            driver.later(seconds=5)
        team.wait(90)
        assert sorted(team.told) == sorted(team.made)
        assert len(team.posts) <= 10 + 5
        assert all(gap >= timedelta(minutes=1) for gap in gaps(team, digests_only=True))

    def test_ten_in_a_minute_never_become_a_digest(self, team, driver):
        for _ in range(25):
            team.tell()
            team.drain()
            driver.later(seconds=6.1)
        assert team.told == team.made
        assert team.digests() == []

    def test_a_key_that_no_database_holds_is_told_in_a_digest_too(self, team):
        ids = team.tell(12, key="prod/a\0b\ud800.zip")
        assert team.drain() == ["digest", "post"]
        ids += team.tell(2)
        assert team.drain() == ["wait"]
        team.wait(120)
        assert sorted(one for _, _, told in team.posts for one in told) == ids

    def test_nothing_is_posted_for_a_minute_after_a_digest(self, team, driver):
        team.tell(11)
        team.drain()
        driver.later(seconds=30)
        team.tell()
        assert team.drain() == ["wait"]
        driver.later(seconds=29)
        assert team.drain() == []
        driver.later(seconds=1)
        assert team.drain() == ["post"]

    def test_five_hundred_in_a_minute_are_few_messages_and_all_are_told(self, team, driver):
        for _ in range(60):
            team.tell(min(9, 500 - len(team.made)))
            for _ in range(3):
                team.turn()
            driver.later(seconds=1)
        team.wait(130)
        assert len(team.made) == 500
        assert sorted(team.told) == sorted(team.made)
        assert len(team.posts) <= 13

    def test_more_than_a_thousand_are_several_digests_a_minute_apart(self, team, monkeypatch):
        monkeypatch.setattr("relay.ledger.batching.MAX_MESSAGES", 20)
        team.tell(47)
        team.wait(125)
        assert [len(ids) for _, _, ids in team.posts] == [20, 20, *[1] * 7]
        assert sorted(team.told) == sorted(team.made)

    def test_a_burst_of_zero_is_never_a_digest(self, driver):
        team = Team(driver, ChannelSettings(kind="webhook", burst=0))
        team.tell(30)
        assert team.drain() == ["post"] * 30

    def test_other_channels_are_no_matter(self, team, driver):
        team.an_import_ends([NewMessage("dev", "import.succeeded", {}) for _ in range(12)])
        team.tell()
        claim = next(one for one in iter(team.claim, None) if one.delivery.destination == "ops")
        assert team.ask(claim) == "post"

    def test_that_a_target_is_down_is_told_at_once_and_never_in_a_digest(self, team, driver):
        team.tell(9)
        team.turned("down")
        team.tell(9)
        team.drain()
        [down] = [one for one in team.messages() if one.message["type"] == "target.down"]
        assert (down.state, down.attempts) == (State.SUCCEEDED, 1)
        assert sorted(len(ids) for _, _, ids in team.posts) == [1, 18]


def insist(ask: Any, *arguments: Any, **more: Any) -> Any:
    """On a busy machine the ledger may be away for longer than it waits."""
    while True:
        with suppress(LedgerUnavailable):
            return ask(*arguments, **more)


def gaps(team: Team, *, digests_only: bool = False) -> list[timedelta]:
    moments = [at for at, _, ids in team.posts if len(ids) > 1 or not digests_only]
    return [later - earlier for earlier, later in pairwise(moments)]


class TestWaiting:
    def test_it_says_why_and_leaves_no_attempt(self, team, driver, ledger):
        team.tell(10)
        team.drain()
        team.tell()
        claim = team.claim()
        assert team.ask(claim) == "wait"
        waiting = driver.read(claim.delivery.id)
        assert (waiting.state, waiting.attempts) == (State.PENDING, 0)
        assert waiting.due == driver.now + timedelta(minutes=1)
        assert waiting.error.code == "message.burst"
        assert "12:01:00 (UTC)" in waiting.error.message.en
        assert ledger.history.attempts(waiting.id) == []

    def test_however_often_it_waits_it_costs_no_try(self, driver, ledger):
        team = night(driver)
        team.tell()
        for _ in range(30):
            claim = team.claim()
            assert claim.attempt == 1
            assert team.ask(claim) == "wait"
            assert ledger.history.attempts(claim.delivery.id) == []
            with ledger._database.write() as connection:
                connection.execute(deliveries.update().values(due=driver.now))

    def test_a_wait_counts_for_no_rate(self, driver):
        team = night(driver, rate=RATE)
        for _ in range(30):
            team.tell()
            assert team.drain() == ["wait"]
        team.tell(20, "failed")
        assert team.drain() == ["digest", "post"]

    def test_that_it_waits_is_no_answer_of_the_service(self, team, driver, ledger):
        """What counts whether a channel is down is what the channel said."""
        team.tell(10)
        team.drain()
        team.error = Retry(driver.problem, unwell=True)
        driver.later(minutes=2)
        team.tell(3)
        for _ in range(3):
            team.turn()
        [gate] = ledger.destinations.all()
        assert gate.failures == 3
        driver.later(minutes=2)
        team.error = None
        team.channel = night(driver).channel
        team.drain()
        [gate] = ledger.destinations.all()
        assert gate.failures == 3

    def test_a_claim_that_was_lost_posts_nothing_and_changes_nothing(self, team, driver):
        team.tell(11)
        stale = team.claim()
        driver.later(seconds=31)
        claim = team.claim()
        assert claim.delivery.id == stale.delivery.id
        assert team.ask(stale) == "lost"
        assert team.digests() == []
        asleep = night(driver)
        asleep.tell(0)
        assert asleep.ask(stale) == "lost"
        assert driver.read(claim.delivery.id).state == State.RUNNING


class TestTrouble:
    def test_while_the_service_fails_one_message_at_a_time_tries_it(self, team, driver):
        team.tell(1)
        team.error = Retry(driver.problem, unwell=True)
        team.drain()
        team.tell(50)
        for _ in range(20):
            team.turn()
        assert team.digests() == []

    @pytest.mark.parametrize("how", ["fails", "asks to wait", "fails and asks to wait"])
    def test_after_an_hour_without_a_channel_few_messages_tell_all(self, team, driver, how):
        errors = {
            "fails": [Retry(driver.problem, unwell=True)],
            "asks to wait": [Retry(driver.problem, timedelta(seconds=30), hold=True)],
        }
        errors["fails and asks to wait"] = errors["fails"] + errors["asks to wait"]
        for step in range(15):
            team.error = errors[how][step % len(errors[how])]
            team.tell(5 if step < 12 else 0)
            team.drain()
            driver.later(minutes=4)
        assert team.posts == []
        team.error = None
        for _ in range(10):
            team.drain()
            driver.later(seconds=30)
        assert len(team.posts) <= 10
        assert sorted(team.told) == sorted(team.made)
        assert len(team.made) == 60

    def test_a_digest_is_repeated_as_it_was_under_the_same_id(self, team, driver):
        team.tell(12)
        assert team.turn() == "digest"
        claim = team.claim()  # ... and its worker dies, perhaps after it posted
        before = claim.delivery.message
        driver.later(seconds=31)
        team.tell(20)
        team.wait(120)
        again = [(id_, ids) for _, id_, ids in team.posts if id_ == claim.delivery.id]
        assert again == [(claim.delivery.id, told_in(before))]
        assert sorted(team.told) == sorted(team.made)

    def test_a_worker_that_dies_right_after_it_gathered_loses_nothing(self, team, driver):
        team.tell(12)
        claim = team.claim()
        assert team.ask(claim) == "digest"
        # It dies here. Its claim is over, whatever becomes of its lease.
        driver.later(minutes=5)
        assert not driver.finish(claim)
        assert team.drain() == ["post"]
        assert sorted(team.told) == sorted(team.made)

    def test_a_rejected_digest_fails_and_is_posted_after_a_retrigger(self, team, driver):
        team.tell(12)
        team.error = Failed(driver.problem)
        team.drain()
        [made] = team.digests()
        assert (made.state, made.error) == (State.FAILED, driver.problem)
        team.error = None
        driver.later(minutes=5)
        team.ledger.retriggers.retrigger(made.id, driver.now)
        assert team.drain() == ["post"]
        assert sorted(team.told) == sorted(team.made)


class TestByHand:
    def test_what_was_told_in_a_digest_is_posted_alone_when_it_is_retriggered(self, team, driver):
        team.tell(12)
        team.drain()
        driver.later(seconds=90)
        team.tell(5)
        one = next(one for one in team.messages() if one.reason == "digest")
        team.ledger.retriggers.retrigger(one.id, driver.now)
        team.drain()
        assert Counter(team.told)[one.message["body"]["delivery"]] == 2
        assert driver.read(one.id).state == State.SUCCEEDED

    def test_it_does_not_wait_for_the_morning(self, driver):
        team = night(driver)
        team.tell()
        assert team.drain() == ["wait"]
        [message] = team.messages()
        team.ledger.retriggers.retrigger(message.id, driver.now)
        assert team.drain() == ["post"]

    def test_many_at_once_are_many_all_the_same(self, team, driver):
        team.error = Failed(driver.problem)
        for _ in range(15):
            team.tell()
            team.drain()
            driver.later(minutes=1)
        team.error = None
        for one in team.messages():
            team.ledger.retriggers.retrigger(one.id, driver.now)
        assert team.drain() == ["digest", "post"]
        [made] = team.digests()
        assert made.trigger is Trigger.MANUAL
        assert sorted(team.told) == sorted(team.made)


def test_a_clock_that_was_turned_back_does_not_keep_the_channel_shut(team, driver):
    team.tell(11)
    team.drain()
    driver.later(hours=-1)
    team.tell(2)
    assert team.drain() == ["post"] * 2


class TestQuietHours:
    def test_at_night_nothing_is_told_until_the_morning_then_all_in_one(self, driver):
        team = night(driver)
        team.tell(40)
        assert team.drain() == ["wait"]  # one claim moves them all
        waiting = team.messages()
        assert {one.due for one in waiting} == {datetime(2026, 5, 1, 23, tzinfo=driver.now.tzinfo)}
        assert {one.error.code for one in waiting} == {"message.quiet_hours"}
        assert "07:00 (Asia/Shanghai)" in waiting[0].error.message.zh
        driver.later(hours=10)
        assert team.drain() == []
        driver.later(hours=1)
        assert team.drain() == ["digest", "post"]
        assert sorted(team.told) == sorted(team.made)

    def test_what_is_urgent_is_told_and_so_is_its_recovery(self, driver):
        team = night(driver)
        fine = team.tell()
        broken = team.tell(1, "failed")
        mended = team.tell(1, recovered={"failed_at": "x", "message": "y"})
        team.drain()
        assert sorted(team.told) == [*broken, *mended]
        driver.later(hours=12)
        team.drain()
        assert team.told[2:] == fine

    def test_the_digest_of_the_night_tells_what_is_urgent_only(self, driver):
        team = night(driver)
        fine = team.tell(15)
        broken = team.tell(15, "failed")
        team.drain()
        assert [sorted(ids) for _, _, ids in team.posts] == [broken]
        driver.later(hours=12)
        team.wait(60)
        assert sorted(team.told[len(broken) :]) == fine

    def test_a_digest_that_waits_is_told_at_night_if_something_in_it_is_urgent(self, driver):
        team = Team(driver)
        team.tell(12)
        team.tell(1, "failed")
        assert team.turn() == "digest"
        team.channel = night(driver).channel
        assert team.drain() == ["post"]

    def test_what_is_urgent_but_waits_for_its_next_try_keeps_it(self, driver):
        team = night(driver)
        team.tell(1, "failed")
        team.error = Retry(driver.problem)
        team.drain()
        driver.later(seconds=5)
        team.tell(1)
        team.drain()
        team.error = None
        driver.later(seconds=5)
        assert team.drain() == ["post"]

    def test_that_a_target_is_down_is_told_in_the_night_too(self, driver):
        team = night(driver)
        team.turned("down")
        assert team.drain() == ["post"]

    def test_without_digests_the_morning_tells_them_one_by_one(self, driver):
        team = night(driver, burst=0)
        team.tell(20)
        assert team.drain() == ["wait"]
        driver.later(hours=12)
        assert team.drain() == ["post"] * 20


class TestAtOnce:
    def test_posts_under_way_count_as_if_they_were_done(self, driver):
        team = Team(driver, ChannelSettings(kind="slack", burst=3))
        team.tell(3)
        claims = [team.claim() for _ in range(3)]
        assert [team.ask(one) for one in claims] == ["post"] * 3
        team.tell(2)
        assert team.turn() == "wait"
        driver.later(seconds=2)
        for one in claims:
            team.post(one)
        assert team.turn() == "wait"
        driver.later(minutes=1)
        assert team.drain() == ["post"] * 2

    def test_while_a_digest_is_being_posted_others_wait(self, team, driver):
        team.tell(11)
        team.turn()
        claim = team.claim()
        assert team.ask(claim) == "post"
        team.tell(3)
        assert team.turn() == "wait"
        driver.later(seconds=2)
        team.post(claim)
        assert team.turn() == "wait"
        driver.later(seconds=58)
        assert team.turn() is None
        driver.later(seconds=2)
        assert team.drain() == ["post"] * 3

    def test_four_threads_tell_everything_once_and_no_more_than_the_burst(self, driver, ledger):
        team = Team(driver)
        team.tell(80)
        lock = threading.Lock()
        broken: list[BaseException] = []

        def work(name: str) -> None:
            lease = timedelta(seconds=30)
            try:
                while claim := insist(
                    ledger.queue.claim, name, lease, {}, driver.now, kind=Kind.MESSAGE
                ):
                    if (
                        insist(
                            ledger.batching.decide_post, claim, team.channel, COMPOSE, driver.now
                        )
                        != "post"
                    ):
                        continue
                    with lock:
                        told = told_in(claim.delivery.message)
                        team.posts.append((driver.now, claim.delivery.id, told))
                    assert insist(ledger.outcomes.finish, claim, Succeeded({}), driver.now)
            except BaseException as error:  # noqa: BLE001 - for the test to see
                broken.append(error)

        for _ in range(4):
            threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            driver.later(minutes=2)
        assert broken == []
        assert sorted(team.told) == sorted(team.made)
        assert len(team.posts) <= 12


class TestAfterwards:
    def test_retention_deletes_old_digests_but_no_waiting_ones(self, team, driver, ledger):
        team.tell(12)
        team.turn()
        driver.later(days=365)
        before = ledger.retention.cutoff(KEPT, driver.now)
        ledger.retention.prune_deliveries(before)
        assert len(team.digests()) == 1
        assert team.drain() == ["post"]
        driver.later(days=365)
        ledger.retention.prune_deliveries(ledger.retention.cutoff(KEPT, driver.now))
        assert (list(team.digests()), list(team.messages())) == ([], [])

    def test_what_was_told_lately_is_read_from_an_index(self, ledger, driver):
        team = Team(driver)
        team.tell(3)
        asked = [
            one
            for one in statements(ledger, team.turn)
            if "FROM attempts" in one[0] and "finished" in one[0]
        ]
        assert len(asked) >= 2
        for one in asked[:2]:
            found = steps(ledger, [one])
            assert any("ix_attempts_told" in step for step in found), found


class TestRecovered:
    def fails(
        self, driver: Any, channels: tuple[str, ...] = ("ops",), result: str = "failed"
    ) -> Any:
        delivery = driver.deliver_to("prod", version=str(driver.now))
        claim = driver.claimed(kind=Kind.IMPORT, only=delivery.id)
        told = [NewMessage(name, f"import.{result}", {"recovered": None}) for name in channels]
        driver.finish(claim, Failed(driver.problem) if result == "failed" else None, messages=told)
        return delivery

    def test_who_heard_last_that_it_failed_is_known_by_channel(self, driver, ledger):
        assert (
            ledger.history.last_failures(driver.deliver_to("prod", "other.zip", version="1")) == {}
        )
        failed = self.fails(driver, ("ops", "dev"))
        known = ledger.history.last_failures(failed)
        sent = {one.destination: one for one in ledger.history.messages(failed.id)}
        assert known == {
            name: {"failed_at": "2026-05-01T12:00:00+00:00", "message": sent[name].id}
            for name in ("ops", "dev")
        }

    def test_the_next_upload_of_the_same_key_knows_too_and_others_do_not(self, driver, ledger):
        self.fails(driver)
        driver.later(seconds=5)
        assert list(ledger.history.last_failures(driver.deliver_to("prod", version="9"))) == ["ops"]
        for other in ({"key": "prod/b.zip"}, {"route": "exports#2"}, {"bucket": "elsewhere"}):
            assert (
                ledger.history.last_failures(driver.deliver_to("prod", version="1", **other)) == {}
            )

    def test_what_was_mended_is_not_mended_again(self, driver, ledger):
        self.fails(driver)
        driver.later(seconds=5)
        delivery = self.fails(driver, result="succeeded")
        assert ledger.history.last_failures(delivery) == {}

    def test_the_thread_is_that_of_the_message_or_of_its_digest(self, driver, ledger):
        team = Team(driver)
        team.tell()
        claim = team.claim()
        driver.finish(claim, Succeeded({"thread": "C1:1.5"}))
        assert ledger.history.message_thread(claim.delivery.id) == "C1:1.5"
        team.tell(12)
        while team.ask(team.claim()) != "digest":
            pass
        claim = team.claim()
        assert claim.delivery.message["type"] == "digest"
        single = next(one for one in team.messages() if one.reason == "digest")
        assert ledger.history.message_thread(single.id) is None
        driver.finish(claim, Succeeded({"thread": "C1:2.5"}))
        assert ledger.history.message_thread(single.id) == "C1:2.5"
        assert ledger.history.message_thread("gone") is None


def test_a_digest_of_what_an_older_version_stored_is_told_as_far_as_it_goes(driver):
    body = digest_body(
        None, "d", [(driver.now, {"type": "import.failed", "body": {"delivery": "x"}})]
    )
    assert body["deliveries"][0]["delivery"] == "x"
    assert body["links"] == {"deliveries": None}
