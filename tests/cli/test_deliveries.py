"""`relay deliveries`, `show`, `retrigger`, `migrate`, `pause` and `resume`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from relay.channels.messages import digest_body
from relay.config.load import ChannelSettings
from relay.ledger import Ledger, NewNotification, RoutedEvent
from relay.model import (
    Event,
    Failed,
    Incoming,
    Kind,
    Localized,
    NewDelivery,
    NewMessage,
    ObjectRef,
    Problem,
    State,
    Succeeded,
    Verdict,
    utc_now,
)

from .conftest import Run

PROBLEM = Problem(
    "archive.encrypted", Localized("It is encrypted", "已加密"), Localized("Decrypt it", "解密")
)


@pytest.fixture
def ledger(folder: object) -> Iterator[Ledger]:
    ledger = Ledger.open("sqlite:///var/relay.db")
    ledger.administration.migrate()
    yield ledger
    ledger.close()


def accept(ledger: Ledger, key: str, now: datetime | None = None) -> str:
    now = now or utc_now()
    event = Event(ObjectRef("exports", key, "v1"), f"etag:{key}", "created", now)
    delivery = NewDelivery("exports#1", "prod", {"func_name": "{function}"}, ("ops",))
    new = NewNotification(Incoming("exports", b"{}", now), Verdict.ACCEPTED)
    return ledger.intake.accept(new, [RoutedEvent(event, (delivery,))], now).deliveries[0]


def finish(ledger: Ledger, outcome: Succeeded | Failed) -> None:
    now = utc_now()
    claim = ledger.queue.claim("worker", timedelta(seconds=30), {}, now)
    assert claim
    message = NewMessage("ops", "import.failed", {})
    assert ledger.outcomes.finish(claim, outcome, now + timedelta(seconds=2), messages=[message])


@pytest.fixture
def failed(ledger: Ledger) -> str:
    delivery_id = accept(ledger, "prod/hello.zip")
    finish(ledger, Failed(PROBLEM))
    return delivery_id


def test_migrate_creates_the_database(run: Run) -> None:
    assert run("migrate").stdout == "the database is at the newest version\n"
    assert json.loads(run("migrate", "--json").stdout) == {"migrated": True}


class TestDeliveries:
    def test_an_empty_ledger_prints_a_message(self, run: Run) -> None:
        assert run("deliveries").stdout == "no deliveries\n"
        assert json.loads(run("deliveries", "--json").stdout) == {"items": [], "next_cursor": None}

    def test_the_newest_delivery_comes_first_in_aligned_columns(
        self, run: Run, ledger: Ledger
    ) -> None:
        now = utc_now()
        older = accept(ledger, "a.zip", now - timedelta(hours=2))
        newer = accept(ledger, "日本/語.zip", now)
        head, first, second = run("deliveries").stdout.splitlines()
        assert head.split() == ["ID", "STATE", "KIND", "OBJECT", "TO", "TRIES", "CREATED", "REASON"]
        assert first.startswith(f"{newer}  pending  import  exports/日本/語.zip  prod")
        assert second.startswith(f"{older}  pending  import  exports/a.zip")
        assert "2 h ago" in second

    def test_a_failed_delivery_has_its_error_code(self, run: Run, failed: str) -> None:
        (line,) = run("deliveries", "--kind", "import").stdout.splitlines()[1:]
        assert line.endswith("archive.encrypted")
        (row,) = json.loads(run("deliveries", "--state", "failed", "--json").stdout)["items"]
        assert row["id"] == failed
        assert row["error"] == {
            "code": "archive.encrypted",
            "message": "It is encrypted",
            "hint": "Decrypt it",
        }
        assert row["attempts"] == 1

    def test_filters_and_pages(self, run: Run, ledger: Ledger) -> None:
        now = utc_now()
        for number in range(3):
            accept(ledger, f"prod/{number}.zip", now - timedelta(days=number))
        accept(ledger, "dev/x.zip", now)
        query = ("deliveries", "--json", "--key", "prod/*", "--limit", "2")
        page = json.loads(run(*query).stdout)
        assert [row["key"] for row in page["items"]] == ["prod/0.zip", "prod/1.zip"]
        rest = json.loads(run(*query, "--cursor", page["next_cursor"]).stdout)
        assert [row["key"] for row in rest["items"]] == ["prod/2.zip"]
        since = json.loads(run(*query, "--since", "36h").stdout)
        assert [row["key"] for row in since["items"]] == ["prod/0.zip", "prod/1.zip"]
        day = (now - timedelta(days=1, hours=12)).isoformat()
        until = json.loads(run(*query, "--until", day).stdout)
        assert [row["key"] for row in until["items"]] == ["prod/2.zip"]

    def test_a_hostile_key_stays_on_one_line(self, run: Run, ledger: Ledger) -> None:
        accept(ledger, "a\n\x1b[31m\u202e\udcff.zip")
        assert len(run("deliveries").stdout.splitlines()) == 2
        assert r"a\n\u001b[31m\u202e\udcff.zip" in run("deliveries").stdout
        assert json.loads(run("deliveries", "--json").stdout)["items"][0]["key"].startswith("a\n")

    @pytest.mark.parametrize(
        "option", [("--state", "retrying"), ("--limit", "0"), ("--since", "x")]
    )
    def test_an_invalid_option_is_a_usage_error(self, run: Run, option: tuple[str, str]) -> None:
        assert run("deliveries", *option).exit_code == 2

    def test_an_invalid_cursor_is_an_error(self, run: Run) -> None:
        result = run("deliveries", "--cursor", "nonsense")
        assert result.exit_code == 1
        assert "cursor" in result.stderr

    def test_a_waiting_delivery_says_why(self, run: Run, ledger: Ledger, configured: Path) -> None:
        assert configured.exists()
        delivery_id = accept(ledger, "prod/a.zip")
        ledger.destinations.pause(Kind.IMPORT, "prod", utc_now())
        (line,) = run("deliveries").stdout.splitlines()[1:]
        assert line.endswith("  paused")
        assert "waits        paused" in run("show", delivery_id).stdout
        (row,) = json.loads(run("deliveries", "--json").stdout)["items"]
        assert row["waiting"] == {"reason": "paused", "until": None}


class TestShow:
    def test_the_output_has_every_part(self, run: Run, failed: str) -> None:
        output = run("show", failed).stdout
        for text in (
            f"delivery     {failed}  failed",
            "object       exports/prod/hello.zip",
            "version      v1",
            "source       exports, route exports#1",
            "error        archive.encrypted: It is encrypted. Decrypt it",
            "automatic",
            "2 s",
            "ops",
        ):
            assert text in output

    def test_the_output_as_json(self, run: Run, failed: str) -> None:
        shown = json.loads(run("show", failed, "--json").stdout)
        assert shown["state"] == "failed"
        (attempt,) = shown["attempts"]
        assert (attempt["outcome"], attempt["error"]["hint"]) == ("failed", "Decrypt it")
        assert shown["event"]["object"]["key"] == "prod/hello.zip"
        assert shown["messages"][0]["destination"] == "ops"

    def test_what_was_changed_and_the_warnings_are_shown(self, run: Run, ledger: Ledger) -> None:
        delivery_id = accept(ledger, "prod/hello.zip")
        message = {"en": "The function is disabled", "zh": "函数已被禁用"}
        result = {
            "how": "updated",
            "effect": ["code", "configuration"],
            "differences": [{"field": "Timeout", "current": 3, "wanted": 9}, "odd"],
            "not_applied": ["Newfangled"],
            "unknown_fields": 5,
            "warnings": [{"code": "x.y", "message": message, "where": "status"}],
        }
        finish(ledger, Succeeded(result))
        output = run("show", delivery_id).stdout
        for line in (
            "changed      code, configuration",
            "settings     Timeout 3 → 9",
            "not applied  Newfangled",
            "warning      The function is disabled (status)",
        ):
            assert line in output

    def test_a_success_shows_its_result(self, run: Run, ledger: Ledger) -> None:
        delivery_id = accept(ledger, "x.zip")
        finish(ledger, Succeeded({"func_urn": "urn:fss:x"}))
        assert "func_urn     urn:fss:x" in run("show", delivery_id).stdout

    def test_a_digest_has_its_count_and_a_batched_message_refers_to_the_digest(
        self, run: Run, ledger: Ledger
    ) -> None:
        for number in range(2):
            accept(ledger, f"{number}.zip")
            finish(ledger, Succeeded({}))
        now = utc_now() + timedelta(seconds=5)
        claim = ledger.queue.claim("worker", timedelta(seconds=30), {}, now, kind=Kind.MESSAGE)
        assert claim
        channel = ChannelSettings(kind="slack", burst=1)
        assert (
            ledger.batching.decide_post(claim, channel, partial(digest_body, None), now) == "digest"
        )
        message = ledger.history.delivery(claim.delivery.id)
        assert message
        assert message.result
        assert "message      digest of 2" in run("show", message.result["digest"]).stdout
        assert f"digest       {message.result['digest']}" in run("show", message.id).stdout
        shown = json.loads(run("show", message.id, "--json").stdout)
        assert shown["message"] == {"type": "import.failed", "count": None}

    def test_an_unknown_id_is_an_error(self, run: Run) -> None:
        result = run("show", "nosuch")
        assert result.exit_code == 1
        assert "There is no delivery with this id" in result.stderr


class TestRetrigger:
    def test_a_failed_delivery_is_due_again(self, run: Run, ledger: Ledger, failed: str) -> None:
        result = run("retrigger", failed, "--on-conflict", "update")
        assert result.exit_code == 0
        assert result.stdout == f"{failed}  due now\n"
        delivery = ledger.history.delivery(failed)
        assert delivery
        assert (delivery.state, delivery.trigger) == (State.PENDING, "manual")
        assert delivery.options["on_conflict"] == "update"

    def test_only_the_deliveries_in_the_state_are_due_again(self, run: Run, ledger: Ledger) -> None:
        now = utc_now()
        events = [
            RoutedEvent(
                Event(ObjectRef("exports", f"{number}.zip"), f"etag:{number}", "created", now),
                (NewDelivery("exports#1", "prod", {}, (), State.SKIPPED, "gone"),),
            )
            for number in range(205)  # more than a page
        ]
        new = NewNotification(Incoming("exports", b"{}", now), Verdict.ACCEPTED)
        skipped = ledger.intake.accept(new, events, now).deliveries
        done = accept(ledger, "done.zip")
        finish(ledger, Succeeded({}))
        results = json.loads(
            run("retrigger", "--state", "skipped", "--kind", "import", "--json").stdout
        )
        assert {result["id"] for result in results} == set(skipped)
        assert ledger.statistics.counts()[Kind.IMPORT, State.PENDING] == 205
        delivery = ledger.history.delivery(done)
        assert delivery
        assert delivery.state == State.SUCCEEDED

    def test_an_unknown_id_does_not_stop_the_others(self, run: Run, failed: str) -> None:
        result = run("retrigger", "nosuch", failed, "--json")
        assert result.exit_code == 1
        unknown, retriggered = json.loads(result.stdout)
        assert "no delivery" in unknown["error"]["message"].lower()
        assert retriggered == {"id": failed, "state": "pending"}

    @pytest.mark.parametrize("arguments", [(), ("some-id", "--state", "failed")])
    def test_either_ids_or_a_state_is_required(self, run: Run, arguments: tuple[str, ...]) -> None:
        assert run("retrigger", *arguments).exit_code == 2

    def test_no_match_prints_a_message(self, run: Run) -> None:
        assert run("retrigger", "--state", "failed").stdout == "no such deliveries\n"


def test_a_point_in_time_is_a_date_or_an_age() -> None:
    from relay.cli.output import point_in_time

    parsed = point_in_time("2026-11-24T08:30+08:00")
    assert parsed == datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
    assert point_in_time("2026-11-24").tzinfo == UTC
    before = utc_now()
    assert before <= point_in_time("2d") + timedelta(days=2) <= utc_now()


def test_colour_needs_a_terminal_and_no_no_color(
    run: Run, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relay.cli.output import style

    assert "\x1b" not in run("deliveries").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert style("x", fg="red") == "x"
    monkeypatch.delenv("NO_COLOR")
    assert style("x", fg="red") == "\x1b[31mx\x1b[0m"


@pytest.mark.usefixtures("configured")
def test_a_target_is_paused_and_resumed(run: Run, ledger: Ledger) -> None:
    assert "open" in run("targets").stdout
    assert "paused" in run("pause", "prod").stdout
    assert json.loads(run("targets", "--json").stdout)[0]["state"] == "paused"
    accept(ledger, "a.zip")
    assert ledger.queue.claim("w1", timedelta(seconds=30), {}, utc_now()) is None
    assert "open" in run("resume", "prod").stdout
    assert ledger.queue.claim("w1", timedelta(seconds=30), {}, utc_now()) is not None
    unknown = run("pause", "nowhere")
    assert unknown.exit_code == 1
    assert "There is no target" in unknown.stderr


def test_a_paused_target_that_left_the_configuration_is_shown_and_resumed(
    run: Run, ledger: Ledger, configured: Path
) -> None:
    ledger.destinations.pause(Kind.IMPORT, "former", utc_now())
    shown = json.loads(run("targets", "--json").stdout)
    assert [(target["name"], target["kind"], target["state"]) for target in shown] == [
        ("prod", "functiongraph", "open"),
        ("former", "not configured", "paused"),
    ]
    assert "not configured  open" in run("resume", "former").stdout
    assert [target["name"] for target in json.loads(run("targets", "--json").stdout)] == ["prod"]
