"""`relay demo` as a person starts it: it ends with the truth."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "relay", "demo", "--once", *arguments],
        cwd=ROOT,
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
        (("--fault", "import:status=500,code=FSS.0500,times=always"), "FSS.0500"),
        (("--fault", "import:status=409,code=FSS.1061,times=always"), "conflict.unclear"),
        (("--taken",), "conflict.other_content"),
    ],
    ids=["401", "500", "409", "taken"],
)
def test_a_refusal_is_told_truly_and_ends_with_one(arguments, words):
    done = demo(*arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "import failed" in done.stdout
    assert done.stderr == ""
    assert words in done.stdout
    assert "imported and told" not in done.stdout
    assert "message to slack: posted" in done.stdout


def test_a_passing_trouble_is_survived():
    done = demo("--fault", "import:status=503,code=FSS.0503,times=1")
    assert done.returncode == 0, done.stdout
    assert "attempt 1 failed" in done.stdout
