"""`relay demo` as a person starts it: it ends with the truth."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from relay.cli.demo.command import DemoOutput, command

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--once", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_demo_ends_with_zero_and_prints_the_urn():
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "urn:fss:cn-north-4:" in done.stdout
    assert ":function:default:hello" in done.stdout
    assert "message to slack: posted" in done.stdout
    assert "message to webhook: posted" in done.stdout
    assert done.stderr == ""


def test_the_demo_speaks_json():
    lines = [json.loads(line) for line in demo("--json").stdout.splitlines()]
    assert lines[-1]["mark"] == "ok"
    assert all(line["words"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--fault", "import:status=401,code=APIGW.0301,times=always"), "APIGW.0301"),
        (("--fault", "import:status=409,code=FSS.1061,times=always"), "conflict.unclear"),
        (("--taken",), "conflict.other_content"),
    ],
    ids=["401", "409", "taken"],
)
def test_a_refusal_is_told_truly_and_ends_with_one(arguments, words):
    done = demo(*arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "import failed" in done.stdout
    assert done.stderr == ""
    assert words in done.stdout
    assert "imported and notified" not in done.stdout
    assert "message to slack: posted" in done.stdout


def test_it_needs_no_configuration_and_minds_none(tmp_path):
    """Nor what the folder for temporary files is called."""
    folder = tmp_path / 'a "b" ${c} \\d $${e 函数'
    folder.mkdir()
    broken = tmp_path / "config"
    broken.write_text("this is [no configuration")
    proxies = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    done = demo(
        **dict.fromkeys(proxies, "http://127.0.0.1:9"),
        NO_PROXY="example.com",
        AWS_PROFILE="nowhere",
        AWS_DEFAULT_PROFILE="nowhere",
        AWS_CONFIG_FILE=str(broken),
        AWS_SHARED_CREDENTIALS_FILE=str(broken),
        AWS_RETRY_MODE="nonsense",
        TMPDIR=str(folder),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert not list(folder.iterdir())


def test_a_passing_trouble_is_survived_and_told_on_a_terminal_that_lacks_its_marks():
    trouble = ("--fault", "import:status=503,code=FSS.0503,times=1")
    done = subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--once", *trouble],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "gbk"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"attempt 1 failed" in done.stdout
    assert b"imported and notified: urn:fss:" in done.stdout


def test_a_fault_that_is_none_is_a_usage_error_before_anything_is_started():
    done = demo("--fault", "bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value for '--fault'" in done.stderr


def test_it_has_no_colour_where_none_is_wanted(monkeypatch, capsys):
    with click.Context(command) as context:
        context.color = True
        DemoOutput(False).print_line("ok", "done")
        assert "\x1b[32m" in capsys.readouterr().out
        monkeypatch.setenv("NO_COLOR", "1")
        DemoOutput(False).print_line("ok", "done")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("moment", "arguments"),
    [("folder", ()), ("story", ("--once",))],
    ids=["folder-stays", "story-once"],
)
def test_it_leaves_nothing_behind_whenever_it_is_ended(tmp_path, moment, arguments):
    fault = ("--fault", "import:status=503,code=FSS.0503,times=always")
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "demo", *fault, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            if moment == "folder":
                end = time.monotonic() + 60
                while not list(tmp_path.iterdir()) and time.monotonic() < end:
                    time.sleep(0.005)
            else:
                assert any("uploaded to" in line for line in process.stdout)
            assert list(tmp_path.iterdir())
            process.send_signal(signal.SIGTERM)
            said = process.stdout.read()
            ended = process.wait(timeout=30)
        finally:
            process.kill()
    assert ended == (1 if arguments else 0), said
    assert "stopped before the end" in said
    assert not list(tmp_path.iterdir()), said
