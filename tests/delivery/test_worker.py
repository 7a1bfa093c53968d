"""The worker over a real ledger: leases, retries, stops and bugs. Time is a hand that we turn."""

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from relay.channels.card import build_card
from relay.channels.contract import Posted
from relay.config.load import ChannelSettings, DeliverySettings, Route, Settings, TargetSettings
from relay.config.units import RateLimit
from relay.delivery.deliver import Deliverer
from relay.delivery.metrics import ProcessMetrics
from relay.delivery.run import ActiveRun
from relay.delivery.wake_signal import WakeSignal
from relay.delivery.worker import Worker
from relay.errors import (
    Gone,
    NameTaken,
    OutcomeUnknown,
    PermanentFailure,
    Superseded,
    TemporaryFailure,
    Throttled,
)
from relay.ledger import DeliveryQuery, NewNotification, RoutedEvent
from relay.ledger import owners as presence
from relay.ledger.errors import unavailable
from relay.model import (
    Event,
    Failed,
    Incoming,
    Kind,
    NewDelivery,
    ObjectInfo,
    ObjectRef,
    Retry,
    Skipped,
    State,
    Succeeded,
    Verdict,
)
from relay.plugins import Plugins
from relay.targets.contract import ExistingFunction, ImportResult
from relay.testing.sandbox.exports import make_export

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
ZIP = make_export("hello")


class Shelf:
    """A storage of one object, and a target that does what it is told to."""

    settings = TargetSettings(kind="shelf")

    def __init__(self):
        self.error = None
        self.source_error = None
        self.refuses = None
        self.holds = None
        self.digest = None
        self.created = 0
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def stat(self, ref):
        if self.source_error:
            raise self.source_error
        return ObjectInfo(len(ZIP), etag="e1")

    def open(self, ref, start=0, end=None):
        from io import BytesIO

        stream = BytesIO(ZIP[start:end])
        return SimpleNamespace(read=stream.read, close=stream.close, info=self.stat(ref))

    def check(self, order, report):
        pass

    def held(self, order):
        if self.refuses:
            raise self.refuses
        return self.holds

    def create(self, order, archive, progress):
        self.entered.set()
        assert self.go_on.wait(10)
        for chunk in archive.chunks():
            progress(len(chunk))
        if self.error:
            raise self.error
        self.created += 1
        answer = {"digest": self.digest} if self.digest else {}
        return ImportResult("urn:hello", order.func_name, order.package, answer)

    def post(self, message):
        if self.error:
            raise self.error
        return Posted("ok")

    def close(self):
        pass


@pytest.fixture
def hand():
    return SimpleNamespace(now=NOW)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def make_worker(ledger, shelf, hand):
    def make(routes=(), channels=None, **delivery):
        settings = Settings(
            targets={"prod": shelf.settings},
            channels=channels or {},
            routes=routes,
            delivery=DeliverySettings(**delivery),
        )
        plugins = Plugins({"s": shelf}, {"prod": shelf}, {"ops": shelf}, ())
        return Worker(
            settings,
            ledger,
            Deliverer(ledger, plugins),
            clock=lambda: hand.now,
            wake_signal=WakeSignal(),
            metrics=ProcessMetrics(),
        )

    return make


@pytest.fixture
def worker(make_worker):
    return make_worker()


@pytest.fixture
def delivery_id(ledger):
    return announce(ledger)


def announce(ledger, key="a.zip", channels=("ops",), func_name="{function}"):
    event = Event(ObjectRef("b", key, etag="e1", size=len(ZIP)), f"v:{key}", "Put", NOW)
    new = NewDelivery("r", "prod", {"func_name": func_name, "package": "default"}, channels)
    notification = NewNotification(Incoming("s", b"{}", NOW), Verdict.ACCEPTED, None, ("bare",))
    return ledger.intake.accept(notification, [RoutedEvent(event, (new,))], NOW).deliveries[0]


def work(worker, kind=Kind.IMPORT):
    claim = worker.claim(kind)
    assert claim is not None
    return worker.run(claim)


def test_a_success_is_recorded_with_its_messages(worker, ledger, delivery_id):
    assert isinstance(work(worker), Succeeded)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert [one.destination for one in ledger.history.messages(delivery_id)] == ["ops"]


def test_a_message_is_posted(worker, ledger, delivery_id):
    work(worker)
    assert isinstance(work(worker, Kind.MESSAGE), Succeeded)
    [message] = ledger.history.messages(delivery_id)
    assert message.state == State.SUCCEEDED


def test_a_temporary_failure_is_due_later_and_tells_nobody(
    worker, ledger, shelf, delivery_id, hand
):
    shelf.error = TemporaryFailure("x.busy", "not now")
    assert isinstance(work(worker), Retry)
    delivery = ledger.history.delivery(delivery_id)
    assert delivery.state == State.PENDING
    assert timedelta(seconds=9) <= delivery.due - hand.now <= timedelta(seconds=11)
    assert ledger.history.messages(delivery_id) == []
    assert worker.claim(Kind.IMPORT) is None


def test_retry_after_wins_over_the_backoff(worker, ledger, shelf, delivery_id, hand):
    shelf.error = TemporaryFailure("x.busy", "not now", retry_after=timedelta(minutes=7))
    work(worker)
    assert ledger.history.delivery(delivery_id).due == hand.now + timedelta(minutes=7)


def test_a_busy_target_holds_its_other_deliveries_too(worker, ledger, shelf, delivery_id, hand):
    other = announce(ledger, "b.zip", func_name="{stem}")
    shelf.error = Throttled("x.429", "too many", retry_after=timedelta(minutes=1))
    work(worker)
    assert worker.claim(Kind.IMPORT) is None
    hand.now += timedelta(minutes=1, seconds=1)
    shelf.error = None
    assert isinstance(work(worker), Succeeded)
    assert isinstance(work(worker), Succeeded)
    assert ledger.history.delivery(other).state == State.SUCCEEDED


def test_after_the_last_attempt_it_is_failed_and_told(worker, ledger, shelf, delivery_id, hand):
    shelf.error = TemporaryFailure("x.busy", "not now")
    outcome = None
    for _ in range(20):
        outcome = work(worker)
        hand.now += timedelta(hours=4)
    assert isinstance(outcome, Failed)
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.state, delivery.attempts) == (State.FAILED, 20)
    [message] = ledger.history.messages(delivery_id)
    assert message.message["type"] == "import.failed"
    assert message.message["body"]["func_name"] == "hello"


@pytest.mark.parametrize(
    ("error", "outcome", "state"),
    [
        (PermanentFailure("x.no", "never"), Failed, State.FAILED),
        (OutcomeUnknown("x.lost", "the answer was lost"), Retry, State.PENDING),
        (ZeroDivisionError("a bug"), Retry, State.PENDING),
    ],
)
def test_errors_of_the_target_end_as_their_branch_says(
    worker, ledger, shelf, delivery_id, error, outcome, state, caplog
):
    shelf.error = error
    assert isinstance(work(worker), outcome)
    assert ledger.history.delivery(delivery_id).state == state


def test_a_bug_is_told_as_a_bug_with_its_traceback_in_the_log(
    worker, ledger, shelf, delivery_id, caplog
):
    shelf.error = ZeroDivisionError("a bug")
    work(worker)
    [attempt] = ledger.history.attempts(delivery_id)
    assert attempt.error.code == "relay.bug"
    assert "ZeroDivisionError: a bug" in caplog.text


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Gone("o.gone", "gone"), "gone"), (Superseded("o.changed", "changed"), "superseded")],
)
def test_an_object_that_is_not_there_any_more_is_skipped(
    worker, ledger, shelf, delivery_id, error, reason
):
    shelf.source_error = error
    assert isinstance(work(worker), Skipped)
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)


def test_an_unknown_target_waits_visibly(worker, ledger, delivery_id):
    worker._deliverer.plugins = Plugins({}, {}, {}, ())
    work(worker)
    [attempt] = ledger.history.attempts(delivery_id)
    assert attempt.error.code == "targets.unknown"
    assert "relay.toml" in attempt.error.hint.zh
    assert ledger.history.delivery(delivery_id).state == State.PENDING


def test_two_imports_of_one_target_do_not_run_at_once(make_worker, ledger, delivery_id):
    announce(ledger, "b.zip")
    first, second = make_worker(), make_worker()
    assert first.claim(Kind.IMPORT) is not None
    assert second.claim(Kind.IMPORT) is None


def test_a_worker_whose_lease_went_to_another_writes_nothing(
    make_worker, ledger, shelf, delivery_id, hand
):
    """It was cut off, its lease ran out, another took over: its outcome must not count."""
    slow, quick = make_worker(), make_worker()
    shelf.go_on.clear()
    claim = slow.claim(Kind.IMPORT)
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(slow.run(claim)))
    thread.start()
    assert shelf.entered.wait(10)
    later(hand, quick, seconds=31)
    again = quick.claim(Kind.IMPORT)
    assert again.delivery.id == delivery_id
    assert again.fence > claim.fence
    slow._renew_once()
    shelf.go_on.set()
    thread.join(10)
    assert outcomes == [None]
    assert ledger.history.delivery(delivery_id).state == State.RUNNING
    assert isinstance(quick.run(again), Succeeded)
    assert [one.outcome for one in ledger.history.attempts(delivery_id)] == ["lost", "succeeded"]


def test_a_heartbeat_keeps_a_long_delivery(make_worker, ledger, shelf, delivery_id, hand):
    slow, other = make_worker(), make_worker()
    shelf.go_on.clear()
    claim = slow.claim(Kind.IMPORT)
    thread = threading.Thread(target=slow.run, args=(claim,))
    thread.start()
    assert shelf.entered.wait(10)
    for _ in range(10):
        hand.now += timedelta(seconds=20)
        slow._renew_once()
        assert other.claim(Kind.IMPORT) is None
    shelf.go_on.set()
    thread.join(10)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED


def test_a_delivery_in_the_foreground_keeps_its_lease(make_worker, ledger, shelf, delivery_id):
    """As `relay import` runs it: of a worker that was not started."""
    worker = make_worker(lease=timedelta(seconds=1))
    renewed, renew = threading.Event(), ledger.queue.renew

    def watched(claims, *rest):
        ours = renew(claims, *rest)
        if ours == {delivery_id}:
            renewed.set()
            shelf.go_on.set()
        return ours

    ledger.queue.renew = watched
    shelf.go_on.clear()  # it goes on once its lease was renewed
    assert isinstance(work(worker), Succeeded)
    assert renewed.is_set()


def test_a_stop_lets_a_delivery_end(worker, ledger, shelf, delivery_id):
    shelf.go_on.clear()
    worker.start()
    assert shelf.entered.wait(10)
    threading.Timer(0.2, shelf.go_on.set).start()
    worker.stop(10)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED


def test_a_stop_gives_back_what_does_not_end_in_time(worker, ledger, shelf, delivery_id):
    shelf.go_on.clear()
    worker.start()
    assert shelf.entered.wait(10)
    worker.stop(0)
    delivery = ledger.history.delivery(delivery_id)
    assert delivery.state == State.PENDING
    assert [one.outcome for one in ledger.history.attempts(delivery_id)] == ["released"]
    shelf.go_on.set()
    for thread in list(worker._threads):  # its end is still read from the ledger
        thread.join(5)


def test_what_was_given_back_sends_nothing_more(worker, ledger, shelf, delivery_id):
    shelf.go_on.clear()
    worker.start()
    assert shelf.entered.wait(10)
    [run] = worker.leases.running()
    worker.stop(0)
    shelf.go_on.set()
    assert run.over.wait(10)
    assert shelf.created == 0, "its upload went on after another may have taken it up"


def test_a_stop_has_the_time_from_when_it_was_asked_for(worker, ledger, shelf, delivery_id):
    shelf.go_on.clear()
    worker.start()
    assert shelf.entered.wait(10)
    worker.ask_to_stop(0)
    worker.stop(3600)  # does not return before the delivery has ended, or been given back
    assert [one.outcome for one in ledger.history.attempts(delivery_id)] == ["released"]
    shelf.go_on.set()


def test_who_was_asked_to_stop_claims_nothing_more(worker, ledger, shelf, delivery_id):
    shelf.go_on.clear()
    worker.start()
    assert shelf.entered.wait(10)
    worker.ask_to_stop(10)
    later_on = announce(ledger, "b.zip")
    worker.wake_signal.ring()
    shelf.go_on.set()
    worker.stop(10)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert ledger.history.delivery(later_on).attempts == 0


def test_a_worker_that_is_certainly_dead_is_taken_over_at_once(
    make_worker, ledger, delivery_id, monkeypatch
):
    dead = make_worker()
    assert dead.claim(Kind.IMPORT) is not None
    living = make_worker()
    living.take_over()
    assert living.claim(Kind.IMPORT) is None
    monkeypatch.setattr(presence, "is_dead", lambda owner: owner == dead.owner)
    living.take_over()
    assert living.claim(Kind.IMPORT).delivery.id == delivery_id


def test_the_started_worker_drains_everything(worker, ledger, shelf):
    ids = [announce(ledger, f"{number}.zip") for number in range(5)]
    worker.start()
    done = threading.Event()
    for _ in range(500):
        if all(one.state.finished for one in map(ledger.history.delivery, ids)):
            done.set()
            break
        worker.wake_signal.wait(-1, 0.02)
        threading.Event().wait(0.02)
    worker.stop(5)
    assert done.is_set()
    assert shelf.created == 5


def test_what_killed_its_worker_three_times_is_parked_and_told(
    worker, ledger, shelf, delivery_id, hand
):
    for _ in range(3):
        assert worker.claim(Kind.IMPORT)  # and the worker dies
        later(hand, worker, minutes=1)
    claim = worker.claim(Kind.IMPORT)
    assert claim.crashes == 3
    outcome = worker.run(claim)
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "delivery.crashes"
    assert shelf.created == 0
    assert ledger.history.delivery(delivery_id).state == State.FAILED
    ledger.retriggers.retrigger(delivery_id, hand.now)
    assert isinstance(worker.run(worker.claim(Kind.IMPORT)), Succeeded)


def test_a_try_that_ended_starts_the_count_of_crashes_anew(worker, shelf, delivery_id, hand):
    for _ in range(2):
        worker.claim(Kind.IMPORT)
        later(hand, worker, minutes=1)
    shelf.error = TemporaryFailure("api.busy", "busy")
    worker.run(worker.claim(Kind.IMPORT))
    hand.now += timedelta(days=1)
    worker.claim(Kind.IMPORT)
    later(hand, worker, minutes=1)
    assert worker.claim(Kind.IMPORT, only=delivery_id).crashes == 1


def test_what_hangs_loses_its_seat_and_its_lease(make_worker, ledger, shelf, delivery_id, hand):
    shelf.go_on.clear()
    worker = make_worker(stuck_after=timedelta(seconds=1), workers=1)
    worker.start()
    try:
        assert shelf.entered.wait(10)
        (run,) = worker.leases.running()
        run.last_activity -= 2
        worker._renew_once()
        assert run not in worker.leases.running()
        assert run.lost
        # The only seat is free again: another delivery is worked on beside the hanging thread.
        shelf.entered.clear()
        hand.now += timedelta(minutes=1)
        worker.wake_signal.ring()
        assert shelf.entered.wait(10)
        assert ledger.history.attempts(delivery_id)[0].outcome == "hung"
    finally:
        shelf.go_on.set()
        worker.stop(5)
    assert shelf.created == 1


def later(hand, *workers, **by):
    """So much later; the workers have had time to renew their leases."""
    hand.now += timedelta(**by)
    for worker in workers:
        worker.leases.now()
        worker.leases._grace_until = 0


def hang(worker, seats=None):
    """Claims a delivery whose thread shows no sign until it is given up."""
    run = worker.leases.add(ActiveRun(worker.claim(Kind.IMPORT), seats))
    run.last_activity -= worker.settings.delivery.stuck_after.total_seconds() + 1
    worker._renew_once()
    assert run.lost
    assert run.over.is_set()


def test_what_hung_runs_beside_others_when_its_turn_comes_again(worker, ledger, delivery_id):
    hang(worker)
    seats = threading.Semaphore(worker.settings.delivery.workers)
    assert seats.acquire(timeout=1)  # another delivery has one, and keeps it
    assert seats.acquire(timeout=1)
    claim = worker.claim(Kind.IMPORT)
    assert not claim.crashes, "or nothing is claimed while it runs"
    run = worker.leases.add(ActiveRun(claim, seats))
    thread = threading.Thread(target=worker._carry_out, args=(run,), daemon=True)
    thread.start()
    thread.join(10)
    run.lost = True
    assert [one.outcome for one in ledger.history.attempts(delivery_id)] == ["hung", "succeeded"]


def test_what_hung_three_times_is_parked_and_told_so(worker, ledger, shelf, delivery_id):
    for _ in range(3):
        hang(worker)
    outcome = work(worker)
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "delivery.hangs"
    assert "hung 3 times" in outcome.problem.message.en
    assert "挂起 3 次" in outcome.problem.message.zh
    assert shelf.created == 0
    [message] = ledger.history.messages(delivery_id)
    assert message.message["body"]["error"]["code"] == "delivery.hangs"


def test_a_hang_that_cannot_be_recorded_frees_its_seat_all_the_same(
    worker, ledger, delivery_id, hand, monkeypatch
):
    monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.outcomes, "release_hung", locked)
        hang(worker)
    later(hand, worker, seconds=31)
    assert worker.claim(Kind.IMPORT).attempt == 2


def locked(*_, **__):
    raise unavailable("locked", "another process holds it", "被其他进程占用")


def test_what_cannot_be_learned_costs_no_success(
    make_worker, ledger, shelf, delivery_id, monkeypatch, caplog
):
    worker = make_worker(attempts=1)
    shelf.digest = "theirs"
    monkeypatch.setattr("relay.archive.checked_archive.CheckedArchive.known_digest", "ours")
    monkeypatch.setattr(ledger.digests, "remember", locked)
    assert isinstance(work(worker), Succeeded)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert "digest not learned" in caplog.text


@pytest.mark.parametrize("step", ["history.newer_event", "intake.pin_event", "functions.lock"])
def test_a_ledger_that_is_away_costs_no_try(make_worker, ledger, hand, step, monkeypatch):
    part, _, name = step.partition(".")
    worker = make_worker(attempts=2)
    event = Event(ObjectRef("b", "a.zip", size=len(ZIP)), "v:a", "Put", NOW)
    new = NewDelivery("r", "prod", {"func_name": "{function}", "package": "default"})
    notification = NewNotification(Incoming("s", b"{}", NOW), Verdict.ACCEPTED, None, ("bare",))
    [id_] = ledger.intake.accept(notification, [RoutedEvent(event, (new,))], NOW).deliveries
    with monkeypatch.context() as patch:
        patch.setattr(getattr(ledger, part), name, locked)
        for _ in range(12):
            outcome = work(worker)
            assert (outcome.counts, outcome.unwell, outcome.reached) == (False, False, False)
            hand.now += timedelta(minutes=1)
    assert ledger.destinations.all() == []
    assert isinstance(work(worker), Succeeded)
    assert ledger.history.delivery(id_).state == State.SUCCEEDED


def test_a_ledger_that_is_away_costs_a_message_no_try(
    make_worker, ledger, delivery_id, hand, monkeypatch
):
    worker = make_worker(attempts=1)
    work(worker)
    body = {"recovered": {"message": "m1"}}
    monkeypatch.setattr(worker._deliverer, "_message_body", lambda _: body)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.history, "message_thread", locked)
        assert not work(worker, Kind.MESSAGE).counts
    hand.now += timedelta(minutes=1)
    assert isinstance(work(worker, Kind.MESSAGE), Succeeded)


def test_a_ledger_that_is_away_is_not_the_targets_fault(
    worker, ledger, shelf, delivery_id, monkeypatch
):
    shelf.holds = ExistingFunction("urn:hello", "hello", "default", "theirs")
    monkeypatch.setattr(ledger.digests, "find", locked)
    outcome = work(worker)
    assert (outcome.counts, outcome.unwell) == (False, False)


HELD = ExistingFunction("urn:hello", "hello", "default", "other")


@pytest.mark.parametrize(
    ("shelf_says", "reached"),
    [
        ({"holds": HELD}, True),  # another function has the name
        ({"error": PermanentFailure("x.400", "no", answer="400 no")}, True),
        ({"error": PermanentFailure("archive.crc", "found on the way")}, True),  # it was asked
        ({"error": Superseded("o.changed", "changed on the way")}, True),
        ({"error": Throttled("x.429", "too many")}, True),
        ({"refuses": PermanentFailure("outbound.private", "our own guard")}, False),
        ({"refuses": PermanentFailure("x.403", "no", answer="403 no")}, True),
        ({"source_error": PermanentFailure("o.forbidden", "no", answer="403 no")}, False),
        ({"source_error": Superseded("o.changed", "changed")}, False),
        ({"source_error": TemporaryFailure("o.503", "store is down")}, False),
    ],
)
def test_an_outcome_knows_whether_the_target_answered(
    worker, shelf, delivery_id, shelf_says, reached
):
    for name, says in shelf_says.items():
        setattr(shelf, name, says)
    if shelf.refuses:
        shelf.error = shelf.refuses
    outcome = work(worker)
    assert (outcome.reached, outcome.unwell) == (reached, False)


def test_a_name_that_is_taken_is_an_answer(worker, shelf, delivery_id):
    shelf.error = NameTaken("x.taken", "taken")
    outcome = work(worker)  # and when asked, it does not show it
    assert (outcome.reached, outcome.unwell) == (True, True)


def test_the_last_try_knows_of_a_target_in_trouble(make_worker, ledger, shelf, delivery_id):
    worker = make_worker(attempts=1)
    shelf.error = TemporaryFailure("x.500", "down")
    outcome = work(worker)
    assert isinstance(outcome, Failed)
    assert outcome.unwell
    assert ledger.destinations.all()[0].failures == 1


def test_a_target_that_answers_in_between_is_not_told_down(make_worker, ledger, shelf, hand):
    worker = make_worker(attempts=1)
    for number in range(12):
        announce(ledger, f"{number}.zip", channels=())
        shelf.error = TemporaryFailure("x.500", "down")
        work(worker)
        announce(ledger, f"{number}-refused.zip", channels=())
        shelf.error = PermanentFailure("x.400", "no", answer="400 no")
        work(worker)
        hand.now += timedelta(days=7)
    (gate,) = ledger.destinations.all()
    assert (gate.failures, gate.down) == (0, None)


class RatedSettings(TargetSettings):
    rate: RateLimit = RateLimit(2, timedelta(minutes=1))


def test_what_waits_for_its_function_takes_nothing_of_the_rate(ledger, shelf, make_worker):
    shelf.settings = RatedSettings(kind="shelf", concurrency=3)
    worker = make_worker()
    for name in "abc":
        announce(ledger, f"{name}.zip")
    first, second = worker.claim(Kind.IMPORT), worker.claim(Kind.IMPORT)
    assert worker.claim(Kind.IMPORT) is None
    assert ledger.functions.lock(first, "hello").status == "locked"
    assert worker.run(second) is None
    third = worker.claim(Kind.IMPORT)
    assert third.delivery.id not in (first.delivery.id, second.delivery.id)


def test_a_plug_in_that_is_not_there_costs_no_try(make_worker, ledger, delivery_id, hand):
    worker = make_worker()
    worker._deliverer.plugins.targets.clear()
    for _ in range(50):
        claim = worker.claim(Kind.IMPORT)
        assert claim.attempt == 1
        worker.run(claim)
        hand.now += timedelta(minutes=1)
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.state, delivery.error.code) == (State.PENDING, "targets.unknown")


def test_a_target_that_fails_ten_times_is_told_down_once_and_up_once(
    ledger, shelf, hand, make_worker
):
    worker = make_worker(
        routes=(Route(source="s", target="prod", channels=("ops",)),),
        channels={"ops": ChannelSettings(kind="shelf")},
    )
    ids = [announce(ledger, f"{number}.zip") for number in range(11)]
    shelf.error = TemporaryFailure("outbound.unreachable", "down", "wait")
    for id_ in ids[:10]:
        worker.run(worker.claim(Kind.IMPORT, only=id_))
    assert worker.claim(Kind.IMPORT) is None
    hand.now += timedelta(seconds=30)
    shelf.error = None
    worker.run(worker.claim(Kind.IMPORT))
    found = ledger.history.deliveries(DeliveryQuery(kind=Kind.MESSAGE)).items
    about = [one.message for one in found if one.message["type"].startswith("target.")]
    assert [one["type"] for one in reversed(about)] == ["target.down", "target.up"]
    assert about[1]["body"]["error"]["code"] == "outbound.unreachable"
    shown = build_card("target.down", about[1]["body"], "zh")
    assert "prod" in shown.summary
    assert "不可用" in shown.title


def test_an_outcome_waits_for_a_ledger_that_is_away(
    worker, ledger, shelf, delivery_id, monkeypatch
):
    finish, refused = ledger.outcomes.finish, iter(range(2))

    def away(*args, **more):
        if next(refused, None) is not None:
            raise unavailable("unavailable", "connection refused", "connection refused")
        return finish(*args, **more)

    monkeypatch.setattr(ledger.outcomes, "finish", away)
    monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
    assert isinstance(work(worker), Succeeded)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert shelf.created == 1


def test_what_was_taken_over_meanwhile_is_not_waited_for(
    worker, ledger, delivery_id, hand, monkeypatch
):
    claim, finish, another = worker.claim(Kind.IMPORT), ledger.outcomes.finish, []

    def away(*args, **more):
        if another:
            return finish(*args, **more)
        hand.now += timedelta(minutes=1)
        another.append(ledger.queue.claim("another", timedelta(seconds=30), {}, hand.now))
        raise unavailable("unavailable", "connection refused", "connection refused")

    monkeypatch.setattr(ledger.outcomes, "finish", away)
    assert worker.run(claim) is None
    assert another[0].delivery.id == delivery_id
    assert ledger.history.delivery(delivery_id).state == State.RUNNING


def test_who_found_nothing_looks_first_and_minds_the_clock(worker, delivery_id, hand):
    assert worker._try_to_claim(Kind.IMPORT, busy=False).delivery.id == delivery_id
    assert worker._try_to_claim(Kind.IMPORT, busy=False) is None
    assert worker._try_to_claim(Kind.MESSAGE, busy=False) is None


def test_who_found_nothing_hears_of_a_clock_that_was_turned_back(worker, delivery_id, hand):
    worker.leases.now()
    hand.now -= timedelta(hours=1)
    assert worker._try_to_claim(Kind.IMPORT, busy=False).delivery.id == delivery_id
