"""The commands that import, plan, scan and retrigger, with text, JSON and terminal output."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from relay.cli.main import cli
from relay.ledger import NewScan
from relay.model import State, utc_now
from relay.testing.sandbox.exports import make_export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def relay(world, monkeypatch):
    """relay(*arguments, code=0, says="") -> stdout of a command that runs in this process"""
    monkeypatch.chdir(ROOT)

    def run(*arguments, code=0, says=""):
        result = CliRunner().invoke(cli, ["--config", str(world.path), *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert says in result.stderr
        return result.stdout

    return run


@pytest.fixture
def archive(world):
    path = world.folder / "hello.zip"
    path.write_bytes(make_export("hello"))
    return path


def test_a_file_is_imported_in_the_foreground(world, relay, archive):
    result = json.loads(relay("import", str(archive), "--target", "prod", "--json"))
    assert result["state"] == "succeeded"
    assert result["result"]["func_urn"] == world.sandbox.functions["hello"].urn
    repeated = json.loads(relay("import", str(archive), "--target", "prod", "--json"))
    assert (repeated["state"], repeated["reason"]) == ("skipped", "unchanged")
    assert repeated["result"]["warnings"] == []


def test_an_import_of_a_file_is_retried_in_the_foreground(world, relay, archive):
    world.sandbox.fault(operation="import", status=503, code="FSS.0503", retry_after="0")
    expected = "Attempt 1 failed: FunctionGraph answered 503 FSS.0503"
    result = json.loads(relay("import", str(archive), "--target", "prod", "--json", says=expected))
    assert result["state"] == "succeeded"
    assert world.applied_calls() == 1


def test_an_import_of_a_file_says_what_it_changed_and_what_not(world, relay, archive):
    command = ("import", str(archive), "--target", "prod", "--on-conflict")
    relay(*command, "fail")
    archive.write_bytes(make_export("hello", Timeout=9))
    skipped = relay(*command, "skip")
    assert "skipped configuration differs" in skipped
    assert "  differs      Timeout 3 → 9" in skipped
    archive.write_bytes(make_export("hello", Timeout=9, Newfangled=1))
    updated = relay(*command, "update")
    assert "  how          updated" in updated
    assert "  changed      configuration" in updated
    assert "  settings     Timeout 3 → 9" in updated
    assert "  not applied  Newfangled" in updated


def test_a_failed_import_of_a_file_says_what_it_has_changed(world, relay, archive):
    world.sandbox.hold("hello", code=b"other", timeout=3)
    world.sandbox.fault(operation="update_config", status=400, code="FSS.1017")
    archive.write_bytes(make_export("hello", Timeout=9))
    output = relay("import", str(archive), "--target", "prod", "--on-conflict", "update", code=1)
    assert "  changed      code" in output


def test_a_long_wait_ends_the_import_of_a_file(world, relay, archive):
    world.sandbox.fault(operation="import", status=429, code="FSS.0429", retry_after="3600")
    result = json.loads(relay("import", str(archive), "--target", "prod", "--json", code=1))
    assert result["error"]["code"] == "functiongraph.fss.0429"
    assert result["error"]["hint"]["en"].startswith("Tried once. Run the command again in 1 h")
    assert world.sandbox.functions == {}


def test_an_invalid_export_exits_with_1_and_an_explanation(world, relay, archive):
    archive.write_text("text")
    assert "archive.not_a_zip" in relay("plan", str(archive), code=1)
    result = json.loads(relay("import", str(archive), "--target", "prod", "--json", code=1))
    assert result["error"]["code"] == "archive.not_a_zip"
    assert world.sandbox.functions == {}


def test_a_failed_import_of_a_file_exits_with_1(world, relay, archive):
    world.sandbox.hold("hello", code=b"other")
    output = relay("import", str(archive), "--target", "prod", code=1)
    assert "conflict.other_content" in output
    assert "update" in output
    renamed = relay("import", str(archive), "--target", "prod", "--on-conflict", "rename")
    assert "succeeded" in renamed
    assert len(world.sandbox.functions) == 2


def test_an_unknown_target_is_a_configuration_error(relay, archive):
    expected = "there is no nowhere. Known: prod."
    relay("import", str(archive), "--target", "nowhere", code=78, says=expected)


@pytest.mark.parametrize("command", ["import", "plan"])
def test_an_incomplete_address_is_a_usage_error(relay, command):
    relay(command, "exports", "exports", code=2, says="SOURCE BUCKET KEY")


def test_a_missing_file_is_a_usage_error(relay):
    relay("plan", "nowhere.zip", code=2, says="nowhere.zip: No such file")


def test_an_object_is_imported_in_the_foreground_and_reported(world, relay):
    world.upload()
    result = json.loads(relay("import", "exports", "exports", "prod/hello.zip", "--json"))
    assert result["state"] == "succeeded"
    [delivery] = world.settled()
    assert delivery.id == result["delivery"]
    assert len(world.message_ids("import.succeeded")) == 1


def test_an_import_to_a_paused_target_is_stored_for_later(world, relay):
    world.upload()
    relay("pause", "prod")
    command = ("import", "exports", "exports", "prod/hello.zip", "--json")
    result = json.loads(
        relay(*command, code=1, says="imports it when it is resumed: `relay resume prod`")
    )
    [delivery] = world.imports()
    assert (result["delivery"], result["state"]) == (delivery.id, "pending")
    assert world.sandbox.functions == {}
    relay("resume", "prod")
    assert json.loads(relay(*command))["delivery"] == delivery.id
    assert "hello" in world.sandbox.functions


def test_a_retry_of_an_import_is_explained(world, relay):
    world.upload()
    world.sandbox.fault(operation="import", status=503, code="FSS.0503")
    expected = "Attempt 1 failed: FunctionGraph answered 503 FSS.0503"
    relay("import", "exports", "exports", "prod/hello.zip", says=expected)


def test_planning_an_object_changes_nothing(world, relay):
    world.upload()
    plan = json.loads(relay("plan", "exports", "exports", "prod/hello.zip", "--json"))
    assert plan["would"] == {"action": "create", "func_name": "hello"}
    assert "create" in relay("plan", "exports", "exports", "prod/hello.zip")
    assert world.deliveries() == []
    assert world.sandbox.functions == {}


def test_planning_a_file_for_a_target_changes_nothing(world, relay, archive):
    command = ("plan", str(archive), "--target", "prod")
    plan = json.loads(relay(*command, "--json"))
    assert plan["would"] == {"action": "create", "func_name": "hello"}
    assert (plan["target"], plan["route"]) == ("prod", None)
    world.sandbox.hold("hello", code=b"other")
    assert "conflict.other_content" in relay(*command, code=1)
    assert "action update" in relay(*command, "--on-conflict", "update")
    assert "action create, func_name other" in relay(*command, "--func-name", "other")
    assert [call for call in world.sandbox.calls if call.applied] == []
    assert world.deliveries() == []


def test_a_plan_refuses_an_unknown_target_and_a_target_for_an_object(relay, archive):
    relay("plan", str(archive), "--target", "nowhere", code=78, says="Known: prod.")
    relay("plan", "exports", "exports", "x.zip", "--target", "prod", code=2, says="FILE.zip")


def test_a_plan_in_chinese(world, relay, archive):
    archive.write_text("text")
    output = relay("plan", str(archive), "--language", "zh", code=1)
    assert any("\u4e00" <= char <= "\u9fff" for char in output)


def test_a_scan_finds_an_unannounced_object(world, relay):
    world.upload()
    dry = json.loads(relay("scan", "exports", "--dry-run", "--json"))
    assert dry == {"would_enqueue": ["exports/prod/hello.zip"]}
    assert world.imports() == []
    assert json.loads(relay("scan", "exports", "--everything", "--json"))["found"] == 1
    assert [delivery.state for delivery in world.imports()] == [State.PENDING]
    assert json.loads(relay("scan", "exports", "--json"))["found"] == 0


def test_a_scan_prints_a_summary(world, relay):
    world.upload()
    assert "1 objects listed, 1 marked as seen" in relay("scan", "exports")
    world.upload("prod/\x1b[31mnew.zip")
    dry = relay("scan", "exports", "--dry-run")
    assert "1 would be enqueued\n  exports/prod/\\u001b[31mnew.zip" in dry
    assert "2 objects listed, 1 enqueued" in relay("scan", "exports", "--since", "1h")


def test_a_limited_scan_says_that_there_are_more_objects(world, relay):
    world.path.write_text(world.path.read_text().replace("[targets", "scan_limit = 2\n[targets"))
    for name in "abc":
        world.upload(f"prod/{name}.zip", body=name.encode())
    assert "There are more" in relay("scan", "exports", "--everything")
    output = relay("scan", "exports", "--everything")
    assert "Continued where the last run stopped" in output
    assert "There are more" not in output
    assert len(world.imports()) == 3


def test_a_concurrent_scan_is_refused(world, relay):
    world.ledger.scans.begin(NewScan("exports", "another process"), utc_now())
    relay("scan", "exports", code=1, says="A scan of exports is under way")


def run_on_terminal(world, *arguments):
    """Run a command with a terminal as stderr. Returns stdout and the text on the terminal."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "relay", "--config", str(world.path), *arguments]
    result = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True
    )
    os.close(terminal)
    shown = os.read(screen, 4096).decode()
    os.close(screen)
    return result.stdout.decode(), shown


def test_a_scan_counts_on_a_terminal(world):
    world.upload()
    printed, shown = run_on_terminal(world, "scan", "exports")
    assert "1 listed, 1 found" in shown
    assert shown.endswith("\r\x1b[K"), "the line is not cleared"
    assert printed.startswith("1 objects listed")


def test_an_import_shows_a_progress_bar_and_log_lines_on_a_terminal(world):
    world.upload()
    world.sandbox.fault(operation="import", status=503, code="FSS.0503")
    printed, shown = run_on_terminal(world, "import", "exports", "exports", "prod/hello.zip")
    assert printed.startswith("succeeded urn:fss:")
    lines = shown.split("\r\n")
    bars = [line for line in lines if "prod/hello.zip  [" in line]
    assert len(bars) == 2, "one per attempt"
    texts = [re.sub(r"\x1b\[\?25[hl]", "", bar).rstrip() for bar in bars]
    assert all(bar.endswith("100%") for bar in texts), (
        "a log line follows a bar without a line break"
    )
    assert any("delivery retry" in line for line in lines)
    assert any("Attempt 1 failed" in line for line in lines)
    assert shown.endswith("\r\n"), "the last line is not terminated"


def test_an_import_shows_no_progress_bar_without_a_terminal(world, archive):
    command = [sys.executable, "-m", "relay", "--config", str(world.path), "import", str(archive)]
    result = subprocess.run(
        [*command, "--target", "prod"], cwd=ROOT, capture_output=True, timeout=60, check=True
    )
    assert result.stderr == b""


def test_a_scan_of_an_unknown_source_is_a_configuration_error(relay):
    relay("scan", "nowhere", code=78, says="Known: exports.")


def test_a_delivery_is_shown_and_retriggered(world, relay):
    world.sandbox.hold("hello", code=b"other")
    world.upload()
    relay("import", "exports", "exports", "prod/hello.zip", code=1)
    [delivery] = world.imports()
    assert "failed" in relay("deliveries")
    assert "conflict.other_content" in relay("show", delivery.id)
    relay("retrigger", delivery.id)
    assert world.imports()[0].state == State.PENDING
