"""`relay demo --once` as a process: output, exit codes, environment, and cleanup."""

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


def run_demo(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--once", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_demo_exits_with_0_and_prints_the_urn():
    result = run_demo()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "urn:fss:cn-north-4:" in result.stdout
    assert ":function:default:hello" in result.stdout
    assert "message to slack: posted" in result.stdout
    assert "message to webhook: posted" in result.stdout
    assert result.stderr == ""


def test_the_demo_prints_json():
    lines = [json.loads(line) for line in run_demo("--json").stdout.splitlines()]
    assert lines[-1]["mark"] == "ok"
    assert all(line["words"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--fault", "import:status=401,code=APIGW.0301,times=always"), "APIGW.0301"),
        (("--fault", "import:status=409,code=FSS.1061,times=always"), "conflict.unclear"),
        (("--taken",), "conflict.other_content"),
    ],
    ids=["401", "409", "taken"],
)
def test_a_refused_import_is_reported_and_exits_with_1(arguments, text):
    result = run_demo(*arguments)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "import failed" in result.stdout
    assert result.stderr == ""
    assert text in result.stdout
    assert "imported and notified" not in result.stdout
    assert "message to slack: posted" in result.stdout


def test_the_environment_has_no_effect(tmp_path):
    """Proxies, AWS configuration, and a temporary folder with special characters."""
    folder = tmp_path / 'a "b" ${c} \\d $${e 函数'
    folder.mkdir()
    broken = tmp_path / "config"
    broken.write_text("this is [no configuration")
    proxies = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    result = run_demo(
        **dict.fromkeys(proxies, "http://127.0.0.1:9"),
        NO_PROXY="example.com",
        AWS_PROFILE="nowhere",
        AWS_DEFAULT_PROFILE="nowhere",
        AWS_CONFIG_FILE=str(broken),
        AWS_SHARED_CREDENTIALS_FILE=str(broken),
        AWS_RETRY_MODE="nonsense",
        TMPDIR=str(folder),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert not list(folder.iterdir())


def test_a_retry_is_reported_even_if_the_terminal_cannot_encode_the_marks():
    fault = ("--fault", "import:status=503,code=FSS.0503,times=1")
    result = subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--once", *fault],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "gbk"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert b"attempt 1 failed" in result.stdout
    assert b"imported and notified: urn:fss:" in result.stdout


def test_an_invalid_fault_is_a_usage_error_before_the_start():
    result = run_demo("--fault", "bogus")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Invalid value for '--fault'" in result.stderr


def test_no_color_disables_colours(monkeypatch, capsys):
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
def test_sigterm_leaves_no_files_behind(tmp_path, moment, arguments):
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
            output = process.stdout.read()
            code = process.wait(timeout=30)
        finally:
            process.kill()
    assert code == (1 if arguments else 0), output
    assert "stopped before the end" in output
    assert not list(tmp_path.iterdir()), output
