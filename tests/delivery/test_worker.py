"""The worker over a real ledger: leases, retries, stops and bugs. Tests set the clock."""

import threading
from dataclasses import replace
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
from relay.ledger import DeliveryQuery, NewNotification, RoutedEvent, owners
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


class FakePlugin:
    """A source with a single object, a target and a channel; attributes set the behaviour."""

    settings = TargetSettings(kind="fake")

    def __init__(self):
        self.error = None
        self.source_error = None
        self.lookup_error = None
        self.existing = None
        self.digest = None
        self.created = 0
        self.upload_started = threading.Event()
        self.may_continue = threading.Event()
        self.may_continue.set()

    def stat(self, ref):
        if self.source_error:
            raise self.source_error
        return ObjectInfo(len(ZIP), etag="e1")

    def open(self, ref, start=0, end=None):
        from io import BytesIO

        stream = BytesIO(ZIP[start:end])
        return SimpleNamespace(read=stream.read, close=stream.close, info=self.stat(ref))

    def check(self, function, report):
        pass

    def held(self, function):
        if self.lookup_error:
            raise self.lookup_error
        return self.existing

    def create(self, function, archive, changes, progress):
        self.upload_started.set()
        assert self.may_continue.wait(10)
        for chunk in archive.chunks():
            progress(len(chunk))
        if self.error:
            raise self.error
        self.created += 1
        answer = {"digest": self.digest} if self.digest else {}
        return ImportResult("urn:hello", function.func_name, function.package, answer)

    def post(self, message):
        if self.error:
            raise self.error
        return Posted("ok")

    def close(self):
        pass


@pytest.fixture
def clock():
    return SimpleNamespace(now=NOW)


@pytest.fixture
def plugin():
    return FakePlugin()


@pytest.fixture
def make_worker(ledger, plugin, clock):
    def make(routes=(), channels=None, **delivery):
        settings = Settings(
            targets={"prod": plugin.settings},
            channels=channels or {},
            routes=routes,
            delivery=DeliverySettings(**delivery),
        )
        plugins = Plugins({"s": plugin}, {"prod": plugin}, {"ops": plugin}, ())
        return Worker(
            settings,
            ledger,
            Deliverer(ledger, plugins),
            clock=lambda: clock.now,
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


def attempt_outcomes(ledger, delivery_id):
    return [attempt.outcome for attempt in ledger.history.attempts(delivery_id)]


def run_next(worker, kind=Kind.IMPORT):
    claim = worker.claim(kind)
    assert claim is not None
    return worker.run(claim)


def test_a_success_is_recorded_with_its_messages(worker, ledger, delivery_id):
    assert isinstance(run_next(worker), Succeeded)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert [message.destination for message in ledger.history.messages(delivery_id)] == ["ops"]


def test_a_message_is_posted(worker, ledger, delivery_id):
    run_next(worker)
    assert isinstance(run_next(worker, Kind.MESSAGE), Succeeded)
    [message] = ledger.history.messages(delivery_id)
    assert message.state == State.SUCCEEDED


def test_a_temporary_failure_is_due_later_and_makes_no_message(
    worker, ledger, plugin, delivery_id, clock
):
    plugin.error = TemporaryFailure("x.busy", "not now")
    assert isinstance(run_next(worker), Retry)
    delivery = ledger.history.delivery(delivery_id)
    assert delivery.state == State.PENDING
    assert timedelta(seconds=9) <= delivery.due - clock.now <= timedelta(seconds=11)
    assert ledger.history.messages(delivery_id) == []
    assert worker.claim(Kind.IMPORT) is None


def test_retry_after_wins_over_the_backoff(worker, ledger, plugin, delivery_id, clock):
    plugin.error = TemporaryFailure("x.busy", "not now", retry_after=timedelta(minutes=7))
    run_next(worker)
    assert ledger.history.delivery(delivery_id).due == clock.now + timedelta(minutes=7)


def test_a_throttling_target_postpones_its_other_deliveries_too(
    worker, ledger, plugin, delivery_id, clock
):
    other = announce(ledger, "b.zip", func_name="{stem}")
    plugin.error = Throttled("x.429", "too many", retry_after=timedelta(minutes=1))
    run_next(worker)
    assert worker.claim(Kind.IMPORT) is None
    clock.now += timedelta(minutes=1, seconds=1)
    plugin.error = None
    assert isinstance(run_next(worker), Succeeded)
    assert isinstance(run_next(worker), Succeeded)
    assert ledger.history.delivery(other).state == State.SUCCEEDED


def test_a_delivery_fails_with_a_message_after_the_last_attempt(
    make_worker, ledger, plugin, delivery_id, clock
):
    worker = make_worker(attempts=5)
    plugin.error = TemporaryFailure("x.busy", "not now")
    outcome = None
    for _ in range(5):
        outcome = run_next(worker)
        clock.now += timedelta(hours=4)
    assert isinstance(outcome, Failed)
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.state, delivery.attempts) == (State.FAILED, 5)
    assert delivery.gave_up == "attempts"
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
def test_the_branch_of_a_target_error_decides_the_outcome(
    worker, ledger, plugin, delivery_id, error, outcome, state, caplog
):
    plugin.error = error
    assert isinstance(run_next(worker), outcome)
    assert ledger.history.delivery(delivery_id).state == state


def test_an_unexpected_exception_is_recorded_as_a_bug_and_its_traceback_is_logged(
    worker, ledger, plugin, delivery_id, caplog
):
    plugin.error = ZeroDivisionError("a bug")
    run_next(worker)
    [attempt] = ledger.history.attempts(delivery_id)
    assert attempt.error.code == "relay.bug"
    assert "ZeroDivisionError: a bug" in caplog.text


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Gone("o.gone", "gone"), "gone"), (Superseded("o.changed", "changed"), "superseded")],
)
def test_an_object_that_is_gone_or_changed_is_skipped(
    make_worker, ledger, plugin, delivery_id, error, reason
):
    plugin.source_error = error
    assert isinstance(run_next(make_worker(gone_after=timedelta(0))), Skipped)
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)


def test_a_delivery_to_an_unknown_target_waits_with_an_error(worker, ledger, delivery_id):
    worker._deliverer.plugins = Plugins({}, {}, {}, ())
    run_next(worker)
    [attempt] = ledger.history.attempts(delivery_id)
    assert attempt.error.code == "targets.unknown"
    assert "relay.toml" in attempt.error.hint.zh
    assert ledger.history.delivery(delivery_id).state == State.PENDING


def test_two_imports_of_one_target_do_not_run_at_once(make_worker, ledger, delivery_id):
    announce(ledger, "b.zip")
    first, second = make_worker(), make_worker()
    assert first.claim(Kind.IMPORT) is not None
    assert second.claim(Kind.IMPORT) is None


def test_a_worker_that_lost_its_lease_records_nothing(
    make_worker, ledger, plugin, delivery_id, clock
):
    """Its lease expired and another worker took over: the upload stops, the outcome is dropped."""
    first_worker, second_worker = make_worker(), make_worker()
    plugin.may_continue.clear()
    claim = first_worker.claim(Kind.IMPORT)
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(first_worker.run(claim)))
    thread.start()
    assert plugin.upload_started.wait(10)
    advance(clock, second_worker, seconds=34)
    second_claim = second_worker.claim(Kind.IMPORT)
    assert second_claim.delivery.id == delivery_id
    assert second_claim.fence > claim.fence
    first_worker._renew_once()
    plugin.may_continue.set()
    thread.join(10)
    assert outcomes == [None]
    assert plugin.created == 0, "the upload went on without a lease"
    assert ledger.history.delivery(delivery_id).state == State.RUNNING
    assert isinstance(second_worker.run(second_claim), Succeeded)
    assert attempt_outcomes(ledger, delivery_id) == ["lost", "succeeded"]


def test_renewals_keep_the_lease_of_a_long_delivery(
    make_worker, ledger, plugin, delivery_id, clock
):
    first_worker, other = make_worker(), make_worker()
    plugin.may_continue.clear()
    claim = first_worker.claim(Kind.IMPORT)
    thread = threading.Thread(target=first_worker.run, args=(claim,))
    thread.start()
    assert plugin.upload_started.wait(10)
    for _ in range(10):
        clock.now += timedelta(seconds=20)
        first_worker._renew_once()
        assert other.claim(Kind.IMPORT) is None
    plugin.may_continue.set()
    thread.join(10)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED


@pytest.fixture
def lease_clock(monkeypatch):
    """The clock of leases: it stands still, unless the test moves it."""
    clock = SimpleNamespace(now=1000.0)
    for module in ("claims", "leases", "run"):
        monkeypatch.setattr(f"relay.delivery.{module}.lease_clock", lambda: clock.now)
    return clock


def test_a_lease_counts_from_before_its_claim_was_sent(
    worker, ledger, delivery_id, lease_clock, monkeypatch
):
    claim = ledger.queue.claim

    def claim_slowly(*args, **more):
        lease_clock.now += 9
        return claim(*args, **more)

    monkeypatch.setattr(ledger.queue, "claim", claim_slowly)
    assert ActiveRun(worker.claim(Kind.IMPORT)).lease_left() == 21


def test_a_claim_that_took_too_long_is_renewed(
    worker, ledger, delivery_id, clock, lease_clock, monkeypatch
):
    claim = ledger.queue.claim

    def claim_slowly(*args, **more):
        claimed = claim(*args, **more)
        lease_clock.now += 16
        clock.now += timedelta(seconds=16)
        return claimed

    monkeypatch.setattr(ledger.queue, "claim", claim_slowly)
    assert ActiveRun(worker.claim(Kind.IMPORT)).lease_left() == 30


def test_a_delivery_starts_only_while_its_lease_lasts(
    worker, ledger, plugin, delivery_id, lease_clock, monkeypatch
):
    monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
    renew, refused, created = ledger.queue.renew, iter(range(3)), []

    def unavailable_at_first(*args):
        if next(refused, None) is not None:
            created.append(plugin.created)
            raise unavailable("unavailable", "connection refused", "connection refused")
        return renew(*args)

    claim = worker.claim(Kind.IMPORT)
    lease_clock.now += 31  # the machine was suspended
    monkeypatch.setattr(ledger.queue, "renew", unavailable_at_first)
    assert isinstance(worker.run(claim), Succeeded), "it starts once the lease is renewed"
    assert created == [0, 0, 0]


def test_a_delivery_whose_lease_went_to_another_worker_does_not_start(
    worker, ledger, plugin, delivery_id, clock, lease_clock
):
    claim = worker.claim(Kind.IMPORT)
    lease_clock.now += 60
    clock.now += timedelta(seconds=60)
    assert ledger.queue.claim("another", timedelta(seconds=30), {}, clock.now)
    assert worker.run(claim) is None
    assert plugin.created == 0


def test_a_delivery_in_the_foreground_renews_its_lease(make_worker, ledger, plugin, delivery_id):
    """`relay import` runs deliveries in a worker that was not started."""
    worker = make_worker(lease=timedelta(seconds=1))
    renewed, renew = threading.Event(), ledger.queue.renew

    def renew_and_continue(claims, *rest):
        renewed_ids = renew(claims, *rest)
        if renewed_ids == {delivery_id}:
            renewed.set()
            plugin.may_continue.set()
        return renewed_ids

    ledger.queue.renew = renew_and_continue
    plugin.may_continue.clear()  # the upload continues after the first renewal
    assert isinstance(run_next(worker), Succeeded)
    assert renewed.is_set()


def test_a_stop_waits_for_a_running_delivery(worker, ledger, plugin, delivery_id):
    plugin.may_continue.clear()
    worker.start()
    assert plugin.upload_started.wait(10)
    threading.Timer(0.2, plugin.may_continue.set).start()
    worker.stop(10)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED


def test_a_stop_releases_a_delivery_that_does_not_end_in_time(worker, ledger, plugin, delivery_id):
    plugin.may_continue.clear()
    worker.start()
    assert plugin.upload_started.wait(10)
    worker.stop(0)
    delivery = ledger.history.delivery(delivery_id)
    assert delivery.state == State.PENDING
    assert attempt_outcomes(ledger, delivery_id) == ["released"]
    plugin.may_continue.set()
    for thread in list(worker._threads):  # the thread still reads the ledger at its end
        thread.join(5)


def test_a_released_delivery_stops_its_upload(worker, ledger, plugin, delivery_id):
    plugin.may_continue.clear()
    worker.start()
    assert plugin.upload_started.wait(10)
    [run] = worker.leases.running()
    worker.stop(0)
    plugin.may_continue.set()
    assert run.over.wait(10)
    assert plugin.created == 0, (
        "the upload went on after another worker may have claimed the delivery"
    )


def test_the_grace_of_a_stop_counts_from_the_first_request(worker, ledger, plugin, delivery_id):
    plugin.may_continue.clear()
    worker.start()
    assert plugin.upload_started.wait(10)
    worker.ask_to_stop(0)
    worker.stop(3600)  # returns when the delivery has ended or was released
    assert attempt_outcomes(ledger, delivery_id) == ["released"]
    plugin.may_continue.set()


def test_a_worker_that_was_asked_to_stop_claims_nothing_more(worker, ledger, plugin, delivery_id):
    plugin.may_continue.clear()
    worker.start()
    assert plugin.upload_started.wait(10)
    worker.ask_to_stop(10)
    announced_later = announce(ledger, "b.zip")
    worker.wake_signal.notify()
    plugin.may_continue.set()
    worker.stop(10)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert ledger.history.delivery(announced_later).attempts == 0


def test_a_claim_under_way_when_the_worker_is_asked_to_stop_is_undone(
    worker, ledger, plugin, delivery_id, monkeypatch
):
    before, claim = ledger.history.delivery(delivery_id), ledger.queue.claim

    def claim_while_asked_to_stop(*args, **more):
        claimed = claim(*args, **more)
        if claimed:
            worker.ask_to_stop(10)
        return claimed

    monkeypatch.setattr(ledger.queue, "claim", claim_while_asked_to_stop)
    worker.start()
    assert worker._stopping.wait(10)
    worker.stop(10)
    assert plugin.created == 0
    assert ledger.history.attempts(delivery_id) == []
    assert replace(ledger.history.delivery(delivery_id), fence=0) == before
    again = claim("other", timedelta(seconds=30), {}, NOW)
    assert again.attempt == 1


def test_a_claim_that_is_undone_uses_nothing_of_the_rate(ledger, plugin, make_worker):
    plugin.settings = RatedSettings(kind="fake", concurrency=3)
    stopping, other = make_worker(), make_worker()
    for name in "abc":
        announce(ledger, f"{name}.zip", func_name="{stem}")
    claim = stopping.claim(Kind.IMPORT)
    stopping.ask_to_stop(10)
    assert stopping.run(claim) is None
    assert [bool(other.claim(Kind.IMPORT)) for _ in range(3)] == [True, True, False]


def test_the_claims_of_a_worker_that_certainly_crashed_are_taken_over_at_once(
    make_worker, ledger, delivery_id, monkeypatch
):
    dead = make_worker()
    assert dead.claim(Kind.IMPORT) is not None
    living = make_worker()
    living.take_over()
    assert living.claim(Kind.IMPORT) is None
    monkeypatch.setattr(owners, "is_dead", lambda owner: owner == dead.owner)
    living.take_over()
    assert living.claim(Kind.IMPORT).delivery.id == delivery_id


def test_a_started_worker_runs_all_due_deliveries(worker, ledger, plugin):
    ids = [announce(ledger, f"{number}.zip") for number in range(5)]
    worker.start()
    done = threading.Event()
    for _ in range(500):
        if all(delivery.state.finished for delivery in map(ledger.history.delivery, ids)):
            done.set()
            break
        worker.wake_signal.wait(-1, 0.02)
        threading.Event().wait(0.02)
    worker.stop(5)
    assert done.is_set()
    assert plugin.created == 5


def test_a_delivery_that_crashed_its_worker_three_times_is_parked(
    worker, ledger, plugin, delivery_id, clock
):
    for _ in range(3):
        assert worker.claim(Kind.IMPORT)  # and the worker crashes
        advance(clock, worker, minutes=1)
    claim = worker.claim(Kind.IMPORT)
    assert claim.crashes == 3
    outcome = worker.run(claim)
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "delivery.crashes"
    assert plugin.created == 0
    assert ledger.history.delivery(delivery_id).state == State.FAILED
    ledger.retriggers.retrigger(delivery_id, clock.now)
    assert isinstance(worker.run(worker.claim(Kind.IMPORT)), Succeeded)


def test_a_finished_attempt_resets_the_count_of_crashes(worker, plugin, delivery_id, clock):
    for _ in range(2):
        worker.claim(Kind.IMPORT)
        advance(clock, worker, minutes=1)
    plugin.error = TemporaryFailure("api.busy", "busy")
    worker.run(worker.claim(Kind.IMPORT))
    clock.now += timedelta(days=1)
    worker.claim(Kind.IMPORT)
    advance(clock, worker, minutes=1)
    assert worker.claim(Kind.IMPORT, only=delivery_id).crashes == 1


def test_a_hanging_delivery_loses_its_slot_and_its_lease(
    make_worker, ledger, plugin, delivery_id, clock
):
    plugin.may_continue.clear()
    worker = make_worker(stuck_after=timedelta(seconds=1), workers=1)
    worker.start()
    try:
        assert plugin.upload_started.wait(10)
        (run,) = worker.leases.running()
        run.last_activity -= 2
        worker._renew_once()
        assert run not in worker.leases.running()
        assert run.lost
        # The only slot is free again: another attempt runs beside the hanging thread.
        plugin.upload_started.clear()
        clock.now += timedelta(minutes=1)
        worker.wake_signal.notify()
        assert plugin.upload_started.wait(10)
        assert ledger.history.attempts(delivery_id)[0].outcome == "hung"
    finally:
        plugin.may_continue.set()
        worker.stop(5)
    assert plugin.created == 1


def advance(clock, *workers, **by):
    """Set the clock forward; the workers have had time to renew their leases."""
    clock.now += timedelta(**by)
    for worker in workers:
        worker.leases.now()
        worker.leases._grace_until = 0


def hang_next(worker, slots=None):
    """Claim a delivery that makes no progress until it is given up."""
    run = worker.leases.add(ActiveRun(worker.claim(Kind.IMPORT), slots))
    run.last_activity -= worker.settings.delivery.stuck_after.total_seconds() + 1
    worker._renew_once()
    assert run.lost
    assert run.over.is_set()


def test_a_delivery_that_hung_runs_beside_others_in_the_next_attempt(worker, ledger, delivery_id):
    hang_next(worker)
    slots = threading.Semaphore(worker.settings.delivery.workers)
    assert slots.acquire(timeout=1)  # another delivery keeps a slot
    assert slots.acquire(timeout=1)
    claim = worker.claim(Kind.IMPORT)
    assert not claim.crashes, "otherwise nothing else would be claimed while it runs"
    run = worker.leases.add(ActiveRun(claim, slots))
    thread = threading.Thread(target=worker._carry_out, args=(run,), daemon=True)
    thread.start()
    thread.join(10)
    run.lost = True
    assert attempt_outcomes(ledger, delivery_id) == ["hung", "succeeded"]


def test_a_delivery_that_hung_three_times_is_parked_with_a_message(
    worker, ledger, plugin, delivery_id
):
    for _ in range(3):
        hang_next(worker)
    outcome = run_next(worker)
    assert isinstance(outcome, Failed)
    assert outcome.problem.code == "delivery.hangs"
    assert "hung 3 times" in outcome.problem.message.en
    assert "挂起 3 次" in outcome.problem.message.zh
    assert plugin.created == 0
    [message] = ledger.history.messages(delivery_id)
    assert message.message["body"]["error"]["code"] == "delivery.hangs"


def test_a_hang_that_cannot_be_recorded_still_frees_the_slot(
    worker, ledger, delivery_id, clock, monkeypatch
):
    monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.queue, "release", locked)
        hang_next(worker)
    advance(clock, worker, seconds=34)
    assert worker.claim(Kind.IMPORT).attempt == 2


def locked(*_, **__):
    raise unavailable("locked", "another process holds it", "被其他进程占用")


def test_an_import_succeeds_even_if_its_digest_cannot_be_stored(
    make_worker, ledger, plugin, delivery_id, monkeypatch, caplog
):
    worker = make_worker(attempts=1)
    plugin.digest = "ours"
    monkeypatch.setattr("relay.archive.checked_archive.CheckedArchive.known_digest", "ours")
    monkeypatch.setattr(ledger.digests, "remember", locked)
    assert isinstance(run_next(worker), Succeeded)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert "digest not learned" in caplog.text


@pytest.mark.parametrize("step", ["intake.pin_event", "functions.lock"])
def test_an_unavailable_database_does_not_count_as_an_attempt(
    make_worker, ledger, clock, step, monkeypatch
):
    part, _, name = step.partition(".")
    worker = make_worker(attempts=2)
    event = Event(ObjectRef("b", "a.zip", size=len(ZIP)), "v:a", "Put", NOW)
    new = NewDelivery("r", "prod", {"func_name": "{function}", "package": "default"})
    notification = NewNotification(Incoming("s", b"{}", NOW), Verdict.ACCEPTED, None, ("bare",))
    [id_] = ledger.intake.accept(notification, [RoutedEvent(event, (new,))], NOW).deliveries
    with monkeypatch.context() as patch:
        patch.setattr(getattr(ledger, part), name, locked)
        for _ in range(12):
            outcome = run_next(worker)
            assert (outcome.counts_as_attempt, outcome.destination_failing, outcome.responded) == (
                False,
                False,
                False,
            )
            clock.now += timedelta(minutes=1)
    assert ledger.destinations.all() == []
    assert isinstance(run_next(worker), Succeeded)
    assert ledger.history.delivery(id_).state == State.SUCCEEDED


def test_an_unavailable_database_does_not_count_as_an_attempt_of_a_message(
    make_worker, ledger, delivery_id, clock, monkeypatch
):
    worker = make_worker(attempts=1)
    run_next(worker)
    body = {"recovered": {"message": "m1"}}
    monkeypatch.setattr(worker._deliverer, "_message_body", lambda _: body)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.history, "message_thread", locked)
        assert not run_next(worker, Kind.MESSAGE).counts_as_attempt
    clock.now += timedelta(minutes=1)
    assert isinstance(run_next(worker, Kind.MESSAGE), Succeeded)


def test_an_unavailable_database_does_not_count_against_the_target(
    worker, ledger, plugin, delivery_id, monkeypatch
):
    plugin.existing = ExistingFunction("urn:hello", "hello", "default", "theirs")
    monkeypatch.setattr(ledger.digests, "find", locked)
    outcome = run_next(worker)
    assert (outcome.counts_as_attempt, outcome.destination_failing) == (False, False)


FOREIGN = ExistingFunction("urn:hello", "hello", "default", "other")


@pytest.mark.parametrize(
    ("responses", "reached"),
    [
        ({"existing": FOREIGN}, True),  # other code under the name
        ({"error": PermanentFailure("x.400", "no", answer="400 no")}, True),
        ({"error": PermanentFailure("archive.crc", "found on the way")}, True),  # after a lookup
        ({"error": Superseded("o.changed", "changed on the way")}, True),
        ({"error": Throttled("x.429", "too many")}, True),
        ({"lookup_error": PermanentFailure("outbound.private", "our own guard")}, False),
        ({"lookup_error": PermanentFailure("x.403", "no", answer="403 no")}, True),
        ({"source_error": PermanentFailure("o.forbidden", "no", answer="403 no")}, False),
        ({"source_error": Superseded("o.changed", "changed")}, False),
        ({"source_error": TemporaryFailure("o.503", "store is down")}, False),
    ],
)
def test_an_outcome_records_whether_the_target_responded(
    worker, plugin, delivery_id, responses, reached
):
    for name, value in responses.items():
        setattr(plugin, name, value)
    if plugin.lookup_error:
        plugin.error = plugin.lookup_error
    outcome = run_next(worker)
    assert (outcome.responded, outcome.destination_failing) == (reached, False)


def test_a_taken_name_is_a_response(worker, plugin, delivery_id):
    plugin.error = NameTaken("x.taken", "taken")
    outcome = run_next(worker)  # and a lookup does not find it
    assert (outcome.responded, outcome.destination_failing) == (True, True)


def test_a_failed_last_attempt_counts_against_the_target(make_worker, ledger, plugin, delivery_id):
    worker = make_worker(attempts=1)
    plugin.error = TemporaryFailure("x.500", "down")
    outcome = run_next(worker)
    assert isinstance(outcome, Failed)
    assert outcome.destination_failing
    assert ledger.destinations.all()[0].failures == 1


def test_a_target_that_responds_in_between_does_not_count_as_down(
    make_worker, ledger, plugin, clock
):
    worker = make_worker(attempts=1)
    for number in range(12):
        announce(ledger, f"{number}.zip", channels=())
        plugin.error = TemporaryFailure("x.500", "down")
        run_next(worker)
        announce(ledger, f"{number}-refused.zip", channels=())
        plugin.error = PermanentFailure("x.400", "no", answer="400 no")
        run_next(worker)
        clock.now += timedelta(days=7)
    (gate,) = ledger.destinations.all()
    assert (gate.failures, gate.down) == (0, None)


class RatedSettings(TargetSettings):
    rate: RateLimit = RateLimit(2, timedelta(minutes=1))


def test_a_delivery_that_waits_for_its_function_uses_nothing_of_the_rate(
    ledger, plugin, make_worker
):
    plugin.settings = RatedSettings(kind="fake", concurrency=3)
    worker = make_worker()
    for name in "abc":
        announce(ledger, f"{name}.zip")
    first, second = worker.claim(Kind.IMPORT), worker.claim(Kind.IMPORT)
    assert worker.claim(Kind.IMPORT) is None
    assert ledger.functions.lock(first, "hello", NOW).status == "locked"
    assert worker.run(second) is None
    third = worker.claim(Kind.IMPORT)
    assert third.delivery.id not in (first.delivery.id, second.delivery.id)


def test_a_missing_plug_in_does_not_count_as_an_attempt(make_worker, ledger, delivery_id, clock):
    worker = make_worker()
    worker._deliverer.plugins.targets.clear()
    for _ in range(50):
        claim = worker.claim(Kind.IMPORT)
        assert claim.attempt == 1
        worker.run(claim)
        clock.now += timedelta(minutes=1)
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.state, delivery.error.code) == (State.PENDING, "targets.unknown")


def test_a_target_that_fails_ten_times_is_reported_down_once_and_up_once(
    ledger, plugin, clock, make_worker
):
    worker = make_worker(
        routes=(Route(source="s", target="prod", channels=("ops",)),),
        channels={"ops": ChannelSettings(kind="fake")},
    )
    ids = [announce(ledger, f"{number}.zip") for number in range(11)]
    plugin.error = TemporaryFailure("outbound.unreachable", "down", "wait")
    for id_ in ids[:10]:
        worker.run(worker.claim(Kind.IMPORT, only=id_))
    assert worker.claim(Kind.IMPORT) is None
    clock.now += timedelta(seconds=30)
    plugin.error = None
    worker.run(worker.claim(Kind.IMPORT))
    deliveries = ledger.history.deliveries(DeliveryQuery(kind=Kind.MESSAGE)).items
    messages = [m.message for m in deliveries if m.message["type"].startswith("target.")]
    assert [message["type"] for message in reversed(messages)] == ["target.down", "target.up"]
    assert messages[1]["body"]["error"]["code"] == "outbound.unreachable"
    card = build_card("target.down", messages[1]["body"], "zh")
    assert "prod" in card.summary
    assert "不可用" in card.title


def test_recording_an_outcome_waits_for_an_unavailable_database(
    worker, ledger, plugin, delivery_id, monkeypatch
):
    finish, refused = ledger.outcomes.finish, iter(range(2))

    def unavailable_once(*args, **more):
        if next(refused, None) is not None:
            raise unavailable("unavailable", "connection refused", "connection refused")
        return finish(*args, **more)

    monkeypatch.setattr(ledger.outcomes, "finish", unavailable_once)
    monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
    assert isinstance(run_next(worker), Succeeded)
    assert ledger.history.delivery(delivery_id).state == State.SUCCEEDED
    assert plugin.created == 1


def test_an_outcome_is_dropped_if_the_delivery_was_taken_over_meanwhile(
    worker, ledger, delivery_id, clock, monkeypatch
):
    claim, finish, other_claims = worker.claim(Kind.IMPORT), ledger.outcomes.finish, []

    def unavailable_once(*args, **more):
        if other_claims:
            return finish(*args, **more)
        clock.now += timedelta(minutes=1)
        other_claims.append(ledger.queue.claim("another", timedelta(seconds=30), {}, clock.now))
        raise unavailable("unavailable", "connection refused", "connection refused")

    monkeypatch.setattr(ledger.outcomes, "finish", unavailable_once)
    assert worker.run(claim) is None
    assert other_claims[0].delivery.id == delivery_id
    assert ledger.history.delivery(delivery_id).state == State.RUNNING


def test_after_an_empty_claim_a_cheap_check_comes_first(worker, delivery_id, clock):
    assert worker._try_to_claim(Kind.IMPORT, busy=False).delivery.id == delivery_id
    assert worker._try_to_claim(Kind.IMPORT, busy=False) is None
    assert worker._try_to_claim(Kind.MESSAGE, busy=False) is None


def test_the_cheap_check_notices_a_clock_that_was_set_back(worker, delivery_id, clock):
    worker.leases.now()
    clock.now -= timedelta(hours=1)
    assert worker._try_to_claim(Kind.IMPORT, busy=False).delivery.id == delivery_id
