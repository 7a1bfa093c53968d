"""The intake: which notifications are accepted, what is stored, and which deliveries result."""

import json
from datetime import UTC, datetime

import pytest

from relay.config.load import Route, Settings, TargetSettings
from relay.errors import TooLarge, Unreadable, Unverified
from relay.handlers.s3 import Handler
from relay.intake.intake import Intake
from relay.ledger import DeliveryQuery, NotFound
from relay.model import Event, Incoming, ObjectRef, Origin, State, Verdict

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
GOOD = {"authorization": "Bearer let-me-in"}


def record(key="a.zip", bucket="exports", name="ObjectCreated:Put"):
    s3 = {"bucket": {"name": bucket}, "object": {"key": key, "size": 3, "eTag": "e1"}}
    return {"eventName": name, "eventTime": "2026-11-24T03:00:00Z", "s3": s3}


def notification(*records, **headers):
    body = json.dumps({"Records": records or [record()]}).encode()
    return Incoming("exports", body, NOW, headers={**GOOD, **headers})


@pytest.fixture
def make_intake(ledger):
    made = []

    def make(**options):
        source = Handler.Settings(
            kind="s3", buckets=["exports"], **{"token": "let-me-in", **options}
        )
        settings = Settings(
            sources={"exports": source},
            targets={"prod": TargetSettings(kind="fake")},
            routes=(Route(source="exports", key="*.zip", target="prod"),),
        )
        handler = Handler("exports", source)
        made.append(handler)
        wake_ups = []
        intake = Intake(
            settings,
            ledger.intake,
            ledger.history,
            {"exports": handler},
            clock=lambda: NOW,
            wake=lambda: wake_ups.append(1),
        )
        intake.wake_ups = wake_ups
        return intake

    yield make
    for handler in made:
        handler.close()


@pytest.fixture
def intake(make_intake):
    return make_intake()


def stored_notifications(ledger):
    return ledger.history.notifications(limit=50, cursor=None).items


def test_a_notification_becomes_a_delivery_and_wakes_the_worker(intake, ledger):
    receipt = intake.accept(notification())
    assert receipt.events == 1
    [delivery] = ledger.history.deliveries(DeliveryQuery()).items
    assert (delivery.id,) == receipt.deliveries
    assert delivery.state == State.PENDING
    assert intake.wake_ups == [1]


def test_refusals_are_logged_with_a_rate_limit_and_the_reason(intake, caplog):
    for _ in range(50):
        with pytest.raises(Unverified):
            intake.accept(Incoming("exports", b"{}", NOW, headers={"authorization": "let-me"}))
    (line,) = [record for record in caplog.records if record.message == "notification refused"]
    assert (line.source, line.others_before) == ("exports", 0)
    assert "token" in line.reason


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_nothing_is_stored_for_an_unverified_sender(intake, ledger, headers):
    incoming = Incoming("exports", b'{"Records": []}', NOW, headers=headers)
    with pytest.raises(Unverified):
        intake.accept(incoming)
    assert stored_notifications(ledger) == ()


def test_a_source_without_credentials_names_the_missing_setting(make_intake, ledger):
    with pytest.raises(Unverified) as caught:
        make_intake(token=None).accept(notification())
    assert "token" in caught.value.hint.en
    assert stored_notifications(ledger) == ()


def test_a_large_body_is_refused_before_verification(intake):
    with pytest.raises(TooLarge):
        intake.accept(Incoming("exports", b" " * (2**20 + 1), NOW))


def test_an_unknown_source_is_not_found(intake):
    with pytest.raises(NotFound):
        intake.accept(Incoming("nowhere", b"{}", NOW))


@pytest.mark.parametrize("body", [b"no json", b"\xff\xfe", b'{"Records": [{"eventName": 3}]}'])
def test_an_unreadable_notification_is_stored_byte_for_byte(intake, ledger, body):
    receipt = intake.accept(Incoming("exports", body, NOW, headers=GOOD))
    [notification_row] = stored_notifications(ledger)
    assert (notification_row.id, notification_row.verdict, notification_row.body) == (
        receipt.notification,
        Verdict.UNREADABLE,
        body,
    )
    assert notification_row.reason


def test_a_bad_record_does_not_lose_the_good_one_beside_it(intake, ledger):
    receipt = intake.accept(notification({"eventName": "ObjectCreated:Put"}, record()))
    assert receipt.events == 1
    [notification_row] = stored_notifications(ledger)
    assert notification_row.verdict == Verdict.UNREADABLE
    assert len(ledger.history.deliveries(DeliveryQuery()).items) == 1


def test_events_that_a_handler_yields_before_an_error_count(intake, ledger, monkeypatch):
    def parse(_record):
        yield Event(ObjectRef("exports", "a.zip", etag="e1", size=3), "etag:e1", "put", NOW)
        raise Unreadable("x", "the second object has no key")

    monkeypatch.setattr(intake.sources["exports"], "parse", parse)
    assert intake.accept(notification()).events == 1
    [stored] = stored_notifications(ledger)
    assert (stored.verdict, stored.reason) == (Verdict.UNREADABLE, "the second object has no key")


def test_a_bug_in_a_handler_loses_no_notification(intake, ledger, monkeypatch, caplog):
    def broken(_record):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(intake.sources["exports"], "parse", broken)
    intake.accept(notification())
    [notification_row] = stored_notifications(ledger)
    assert notification_row.verdict == Verdict.UNREADABLE
    assert "ZeroDivisionError" in notification_row.reason


@pytest.mark.parametrize("name", ["ObjectRemoved:Delete", "ObjectCreated:PutTagging"])
def test_a_notification_without_objects_is_stored_as_ignored(intake, ledger, name):
    intake.accept(notification(record(name=name)))
    assert [row.verdict for row in stored_notifications(ledger)] == [Verdict.IGNORED]
    assert intake.wake_ups == []


def test_events_of_other_buckets_are_not_delivered(intake, ledger):
    receipt = intake.accept(notification(record(bucket="secret"), record()))
    assert receipt.events == 1
    assert [d.bucket for d in ledger.history.deliveries(DeliveryQuery()).items] == ["exports"]
    assert "allow-list" in stored_notifications(ledger)[0].reason


def test_secrets_in_headers_are_not_stored(intake, ledger):
    intake.accept(notification(**{"x-api-key": "hide-me", "content-type": "application/json"}))
    [notification_row] = stored_notifications(ledger)
    assert notification_row.headers["authorization"] == "[redacted]"
    assert notification_row.headers["x-api-key"] == "[redacted]"
    assert notification_row.headers["content-type"] == "application/json"


def test_a_queue_needs_no_token(make_intake, ledger):
    queued = Incoming("exports", notification().body, NOW, Origin.QUEUE)
    assert make_intake(token=None).accept_queued(queued).events == 1


def test_a_queue_message_of_unknown_format_is_stored(make_intake, ledger):
    queued = Incoming("exports", b"{}", NOW, Origin.QUEUE)
    make_intake(accept=["sns"]).accept_queued(queued)
    assert [row.verdict for row in stored_notifications(ledger)] == [Verdict.UNREADABLE]


def test_a_replay_parses_a_notification_again_after_a_fix(intake, ledger, monkeypatch):
    handler = intake.sources["exports"]
    parse = handler.parse
    monkeypatch.setattr(handler, "parse", lambda _: (_ for _ in ()).throw(Unreadable("x", "no")))
    receipt = intake.accept(notification())
    assert receipt.events == 0
    monkeypatch.setattr(handler, "parse", parse)
    second_receipt = intake.replay(receipt.notification)
    assert second_receipt.events == 1
    assert intake.replay(receipt.notification).events == 0


def test_a_replay_of_an_unknown_notification_is_not_found(intake):
    with pytest.raises(NotFound):
        intake.replay("nothing")


def test_a_scan_cannot_be_replayed(intake):
    notification_row = intake.accept_found(Incoming("exports", b"{}", NOW, Origin.SCAN), [])
    with pytest.raises(Unreadable):
        intake.replay(notification_row.notification)


def test_an_object_marked_by_a_first_scan_is_delivered_when_it_is_announced(intake, ledger):
    event = Event(ObjectRef("exports", "a.zip", etag="e1", size=3), "etag:e1@", "found", NOW)
    intake.mark_seen(Incoming("exports", b"{}", NOW, Origin.SCAN), [event])
    assert ledger.history.deliveries(DeliveryQuery()).items == ()
    intake.accept(notification())
    assert len(ledger.history.deliveries(DeliveryQuery()).items) == 1
