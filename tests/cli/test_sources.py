"""`relay sources`: the list of sources, and how to set up their storages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay.plugins import find, known
from relay.sources.contract import StorageHandler

from .conftest import CONFIGURATION, Run

FOLDER = '\n[sources.inbox]\nkind = "local"\nfolder = "."\n'


def test_the_list_has_transports_and_missing_settings(run: Run, configured: Path) -> None:
    text = CONFIGURATION.replace('kind = "s3"', 'kind = "s3"\naccept = ["bare", "sns"]', 1)
    configured.write_text(text.replace('token = "a-hook-token-that-is-long"\n', "") + FOLDER)
    result = run("sources")
    assert result.exit_code == 0
    assert "https://relay.example.com/hooks/exports" in result.stdout
    assert "missing: token" in result.stdout
    assert "missing: sns_topic_arns" in result.stdout
    assert "every 1 min" in result.stdout
    assert result.stdout == run("sources", "list").stdout


def test_the_list_as_json(run: Run, configured: Path) -> None:
    (exports,) = json.loads(run("sources", "list", "--json").stdout)["sources"]
    assert exports["name"] == "exports"
    assert exports["hook"] == "https://relay.example.com/hooks/exports"
    assert {"name": "bare", "missing": None} in exports["envelopes"]
    assert exports["queue"] is False
    assert exports["scan_seconds"] == 0


def test_a_source_without_a_queue_setting_polls_no_queue(run: Run, configured: Path) -> None:
    google = '\n[sources.google]\nkind = "gcs"\nanonymous = true\n'
    pulled = f'{google}subscription = "projects/my-project/subscriptions/uploads"\n'
    for text, queue in ((google, False), (pulled, True)):
        configured.write_text(CONFIGURATION + text)
        sources = json.loads(run("sources", "list", "--json").stdout)["sources"]
        assert [source["queue"] for source in sources] == [False, queue]


def test_the_list_without_sources_is_a_message(run: Run, folder: Path) -> None:
    assert "no [sources.NAME] table" in run("sources").stdout


def test_setup_names_the_hook_and_the_variable_of_the_secret(run: Run, configured: Path) -> None:
    configured.write_text(
        CONFIGURATION.replace('"a-hook-token-that-is-long"', '"${EXPORTS_TOKEN}"')
    )
    result = run("sources", "setup", "exports", EXPORTS_TOKEN="a-hook-token-that-is-long")
    assert result.exit_code == 0
    assert "https://relay.example.com/hooks/exports" in result.stdout
    assert "$EXPORTS_TOKEN: token of [sources.exports]" in result.stdout
    assert "Authenticate with the token $EXPORTS_TOKEN" in result.stdout
    assert "a-hook-token-that-is-long" not in result.output


def test_a_secret_from_the_environment_is_named_by_it(run: Run, configured: Path) -> None:
    result = run("sources", "setup", "exports", RELAY_SOURCES__EXPORTS__TOKEN="x" * 30)
    assert "$RELAY_SOURCES__EXPORTS__TOKEN: token" in result.stdout


def test_setup_warns_that_public_url_is_not_set(run: Run, configured: Path) -> None:
    configured.write_text(CONFIGURATION.replace("public_url", "# public_url", 1))
    result = run("sources", "setup", "exports")
    assert "public_url is not set" in result.stdout
    assert "https://YOUR-RELAY.example/hooks/exports" in result.stdout
    document = json.loads(run("sources", "setup", "exports", "--json").stdout)
    assert document["hook"] is None
    assert document["path"] == "/hooks/exports"


def test_setup_warns_that_a_required_secret_is_not_set(run: Run, configured: Path) -> None:
    configured.write_text(CONFIGURATION.replace('token = "a-hook-token-that-is-long"\n', ""))
    assert "it is not set yet" in run("sources", "setup", "exports").stdout


def test_setup_as_json_has_the_same_steps(run: Run, configured: Path) -> None:
    document = json.loads(run("sources", "setup", "exports", "--json").stdout)
    assert document["kind"] == "s3"
    assert document["secrets"] == [
        {"setting": "token", "variable": "HOOK_TOKEN", "is_set": True},
        {"setting": "secret", "variable": "HOOK_SECRET", "is_set": False},
    ]
    printed = run("sources", "setup", "exports").stdout
    for step in document["steps"]:
        assert step["title"] in printed
        assert step["kind"] in ("command", "json", "terraform", "toml", "python", "words")


def test_an_unknown_source_is_an_error_with_the_known_ones(run: Run, configured: Path) -> None:
    for command in ("setup", "capture"):
        result = run("sources", command, "unknown")
        assert result.exit_code == 78
        assert "there is no source unknown" in result.stderr
        assert "exports" in result.stderr


@pytest.mark.parametrize("kind", known("handlers"))
def test_every_built_in_kind_has_setup_steps(kind: str) -> None:
    assert find("handlers", kind).setup is not StorageHandler.setup
