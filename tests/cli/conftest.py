"""Fixtures that run commands in this process, in a temporary working directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay.cli.main import cli

Run = Callable[..., Result]

CONFIGURATION = """
public_url = "https://relay.example.com"
[api]
tokens = ["a-token-that-is-long-enough"]
[sources.exports]
kind = "s3"
endpoint_url = "http://127.0.0.1:9"
region = "us-east-1"
access_key_id = "key"
secret_access_key = "s3cr3t-access-key"
buckets = ["exports"]
token = "a-hook-token-that-is-long"
[targets.prod]
kind = "functiongraph"
region = "cn-north-4"
project_id = "0123456789abcdef0123456789abcdef"
endpoint = "http://127.0.0.1:9"
access_key = "ak"
secret_key = "s3cr3t-secret-key"
[channels.ops]
kind = "slack"
url = "https://hooks.slack.com/services/s3cr3t-path"
[[routes]]
source = "exports"
target = "prod"
channels = ["ops"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, without RELAY_* variables in the environment."""
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """run("check", "--json", NAME=value) -> exit code and output of the command."""

    def run(*arguments: str, **environ: str) -> Result:
        result = CliRunner().invoke(cli, arguments, prog_name="relay", env=environ)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def configured(folder: Path) -> Path:
    """A valid relay.toml."""
    file = folder / "relay.toml"
    file.write_text(CONFIGURATION)
    return file
