"""The commands that act, as a person types them."""

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
    """A command in this process; those on a terminal, below, are processes of their own."""
    monkeypatch.chdir(ROOT)

    def run(*arguments, code=0, says=""):
        done = CliRunner().invoke(cli, ["--config", str(world.path), *arguments])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        assert says in done.stderr
        return done.stdout

    return run


@pytest.fixture
def archive(world):
    path = world.folder / "hello.zip"
    path.write_bytes(make_export("hello"))
    return path


def test_a_file_is_imported_in_the_foreground(world, relay, archive):
    told = json.loads(relay("import", str(archive), "--target", "prod", "--json"))
    assert told["state"] == "succeeded"
    assert told["result"]["func_urn"] == world.sandbox.functions["hello"].urn
    again = json.loads(relay("import", str(archive), "--target", "prod", "--json"))
    assert (again["state"], again["reason"]) == ("skipped", "unchanged")


def test_a_file_is_tried_again_in_the_foreground(world, relay, archive):
    world.sandbox.fault(operation="import", status=503, code="FSS.0503", retry_after="0")
    said = "Attempt 1 failed: FunctionGraph answered 503 FSS.0503"
    told = json.loads(relay("import", str(archive), "--target", "prod", "--json", says=said))
    assert told["state"] == "succeeded"
    assert world.effective() == 1


def test_a_file_that_is_given_up_is_not_said_to_be_tried_again(world, relay, archive):
    world.sandbox.fault(operation="import", status=429, code="FSS.0429", retry_after="3600")
    told = json.loads(relay("import", str(archive), "--target", "prod", "--json", code=1))
    assert told["error"]["code"] == "functiongraph.fss.0429"
    assert told["error"]["hint"]["en"].startswith("Tried once. Run the command again in 1 h")
    assert world.sandbox.functions == {}


def test_a_file_that_is_no_export_ends_with_one_and_says_why(world, relay, archive):
    archive.write_text("text")
    assert "archive.not_a_zip" in relay("plan", str(archive), code=1)
    told = json.loads(relay("import", str(archive), "--target", "prod", "--json", code=1))
    assert told["error"]["code"] == "archive.not_a_zip"
    assert world.sandbox.functions == {}


def test_a_failed_import_of_a_file_ends_with_one(world, relay, archive):
    world.sandbox.hold("hello", code=b"other")
    told = relay("import", str(archive), "--target", "prod", code=1)
    assert "conflict.other_content" in told
    assert "update" in told
    renamed = relay("import", str(archive), "--target", "prod", "--on-conflict", "rename")
    assert "succeeded" in renamed
    assert len(world.sandbox.functions) == 2


def test_an_unknown_target_is_a_configuration_error(relay, archive):
    said = "there is no nowhere. Known: prod."
    relay("import", str(archive), "--target", "nowhere", code=78, says=said)


@pytest.mark.parametrize("command", ["import", "plan"])
def test_half_an_address_is_a_usage_error(relay, command):
    relay(command, "exports", "exports", code=2, says="SOURCE BUCKET KEY")


def test_a_file_that_is_not_there_is_a_usage_error(relay):
    relay("plan", "nowhere.zip", code=2, says="nowhere.zip: No such file")


def test_an_object_is_imported_in_the_foreground_and_told(world, relay):
    world.upload()
    told = json.loads(relay("import", "exports", "exports", "prod/hello.zip", "--json"))
    assert told["state"] == "succeeded"
    [delivery] = world.settled()
    assert delivery.id == told["delivery"]
    assert len(world.told("import.succeeded")) == 1


def test_an_import_to_a_paused_target_is_stored_and_says_so(world, relay):
    world.upload()
    relay("pause", "prod")
    ask = ("import", "exports", "exports", "prod/hello.zip", "--json")
    told = json.loads(
        relay(*ask, code=1, says="imports it when it is resumed: `relay resume prod`")
    )
    [delivery] = world.imports()
    assert (told["delivery"], told["state"]) == (delivery.id, "pending")
    assert world.sandbox.functions == {}
    relay("resume", "prod")
    assert json.loads(relay(*ask))["delivery"] == delivery.id
    assert "hello" in world.sandbox.functions


def test_an_import_that_is_tried_again_says_why_and_when(world, relay):
    world.upload()
    world.sandbox.fault(operation="import", status=503, code="FSS.0503")
    said = "Attempt 1 failed: FunctionGraph answered 503 FSS.0503"
    relay("import", "exports", "exports", "prod/hello.zip", says=said)


def test_an_object_is_planned_and_nothing_changes(world, relay):
    world.upload()
    plan = json.loads(relay("plan", "exports", "exports", "prod/hello.zip", "--json"))
    assert plan["would"] == {"action": "create", "func_name": "hello"}
    assert "create" in relay("plan", "exports", "exports", "prod/hello.zip")
    assert world.deliveries() == []
    assert world.sandbox.functions == {}


def test_a_file_is_planned_for_a_target_and_nothing_changes(world, relay, archive):
    ask = ("plan", str(archive), "--target", "prod")
    plan = json.loads(relay(*ask, "--json"))
    assert plan["would"] == {"action": "create", "func_name": "hello"}
    assert (plan["target"], plan["route"]) == ("prod", None)
    world.sandbox.hold("hello", code=b"other")
    assert "conflict.other_content" in relay(*ask, code=1)
    assert "action update" in relay(*ask, "--on-conflict", "update")
    assert "action create, func_name other" in relay(*ask, "--func-name", "other")
    assert [call for call in world.sandbox.calls if call.applied] == []
    assert world.deliveries() == []


def test_a_plan_for_no_such_target_or_for_an_object_with_one_is_refused(relay, archive):
    relay("plan", str(archive), "--target", "nowhere", code=78, says="Known: prod.")
    relay("plan", "exports", "exports", "x.zip", "--target", "prod", code=2, says="FILE.zip")


def test_a_plan_in_chinese(world, relay, archive):
    archive.write_text("text")
    told = relay("plan", str(archive), "--language", "zh", code=1)
    assert any("\u4e00" <= char <= "\u9fff" for char in told)


def test_a_scan_finds_what_nobody_announced(world, relay):
    world.upload()
    dry = json.loads(relay("scan", "exports", "--dry-run", "--json"))
    assert dry == {"would_enqueue": ["exports/prod/hello.zip"]}
    assert world.imports() == []
    assert json.loads(relay("scan", "exports", "--everything", "--json"))["found"] == 1
    assert [one.state for one in world.imports()] == [State.PENDING]
    assert json.loads(relay("scan", "exports", "--json"))["found"] == 0


def test_a_scan_says_in_words_what_it_did(world, relay):
    world.upload()
    assert "1 objects listed, 1 marked as seen" in relay("scan", "exports")
    world.upload("prod/\x1b[31mnew.zip")
    dry = relay("scan", "exports", "--dry-run")
    assert "1 would be enqueued\n  exports/prod/\\x1b[31mnew.zip" in dry
    assert "2 objects listed, 1 enqueued" in relay("scan", "exports", "--since", "1h")


def test_a_scan_in_runs_says_that_there_is_more(world, relay):
    world.path.write_text(world.path.read_text().replace("[targets", "scan_limit = 2\n[targets"))
    for name in "abc":
        world.upload(f"prod/{name}.zip", body=name.encode())
    assert "There are more" in relay("scan", "exports", "--everything")
    told = relay("scan", "exports", "--everything")
    assert "Continued where the last run stopped" in told
    assert "There are more" not in told
    assert len(world.imports()) == 3


def test_a_second_scan_at_the_same_time_is_told_of_the_first(world, relay):
    world.ledger.scans.begin(NewScan("exports", "another process"), utc_now())
    relay("scan", "exports", code=1, says="A scan of exports is under way")


def on_a_terminal(world, *arguments):
    """What a command prints, and what it shows on the terminal that its stderr is."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "relay", "--config", str(world.path), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True
    )
    os.close(terminal)
    shown = os.read(screen, 4096).decode()
    os.close(screen)
    return done.stdout.decode(), shown


def test_a_scan_counts_on_a_terminal(world):
    world.upload()
    printed, shown = on_a_terminal(world, "scan", "exports")
    assert "1 listed, 1 found" in shown
    assert shown.endswith("\r\x1b[K"), "the line is left empty"
    assert printed.startswith("1 objects listed")


def test_an_import_has_a_bar_on_a_terminal_and_a_line_for_all_else(world):
    world.upload()
    world.sandbox.fault(operation="import", status=503, code="FSS.0503")
    printed, shown = on_a_terminal(world, "import", "exports", "exports", "prod/hello.zip")
    assert printed.startswith("succeeded urn:fss:")
    lines = shown.split("\r\n")
    bars = [line for line in lines if "prod/hello.zip  [" in line]
    assert len(bars) == 2, "one for each try"
    seen = [re.sub(r"\x1b\[\?25[hl]", "", bar).rstrip() for bar in bars]
    assert all(bar.endswith("100%") for bar in seen), "nothing is glued on"
    assert any("delivery retry" in line for line in lines)
    assert any("Attempt 1 failed" in line for line in lines)
    assert shown.endswith("\r\n"), "the last bar's line is ended"


def test_an_import_has_no_bar_elsewhere(world, archive):
    command = [sys.executable, "-m", "relay", "--config", str(world.path), "import", str(archive)]
    done = subprocess.run(
        [*command, "--target", "prod"], cwd=ROOT, capture_output=True, timeout=60, check=True
    )
    assert done.stderr == b""


def test_a_scan_of_nothing_known_is_a_configuration_error(relay):
    relay("scan", "nowhere", code=78, says="Known: exports.")


def test_the_story_of_a_delivery_and_its_retrigger(world, relay):
    world.sandbox.hold("hello", code=b"other")
    world.upload()
    relay("import", "exports", "exports", "prod/hello.zip", code=1)
    [delivery] = world.imports()
    assert "failed" in relay("deliveries")
    assert "conflict.other_content" in relay("show", delivery.id)
    relay("retrigger", delivery.id)
    assert world.imports()[0].state == State.PENDING
