"""Errors of the AWS SDK before the first request."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.sources.s3.client import AwsSettings, make_client

SETTINGS = AwsSettings(
    kind="s3", region="us-east-1", access_key_id="test-key", secret_access_key="test-secret"
)


def refusal() -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        make_client("s3", "exports", SETTINGS, region_name="us-east-1")
    assert raised.value.path == "sources.exports"
    return raised.value


def test_a_missing_profile_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    error = refusal()
    assert "its profile or files (ProfileNotFound)" in error.message.en
    assert "unset AWS_PROFILE" in error.hint.en
    assert "region" not in error.hint.en


def test_a_malformed_configuration_file_of_the_sdk_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("no section = 1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    error = refusal()
    assert "(ConfigParseError)" in error.message.en
    assert "~/.aws/config" in error.hint.en
