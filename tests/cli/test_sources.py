"""`relay sources`: what it says of each source, and of how its storage is set up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relay.plugins import find, known
from relay.sources.contract import StorageHandler

from .conftest import CONFIGURATION, Run

FOLDER = '\n[sources.inbox]\nkind = "local"\nfolder = "."\n'


def test_it_lists_roads_and_what_is_missing(run: Run, configured: Path) -> None:
    text = CONFIGURATION.replace('kind = "s3"', 'kind = "s3"\naccept = ["bare", "sns"]', 1)
    configured.write_text(text.replace('token = "a-hook-token-that-is-long"\n', "") + FOLDER)
    said = run("sources")
    assert said.exit_code == 0
    assert "https://relay.example.com/hooks/exports" in said.stdout
    assert "missing: token" in said.stdout
    assert "missing: sns_topic_arns" in said.stdout
    assert "every 1 min" in said.stdout
    assert said.stdout == run("sources", "list").stdout


def test_it_lists_as_json(run: Run, configured: Path) -> None:
    told = json.loads(run("sources", "list", "--json").stdout)
    (exports,) = told["sources"]
    assert exports["name"] == "exports"
    assert exports["hook"] == "https://relay.example.com/hooks/exports"
    assert {"name": "bare", "missing": None} in exports["envelopes"]
    assert exports["queue"] is False
    assert exports["scan_seconds"] == 0


def test_a_queue_that_is_not_named_is_not_pulled(run: Run, configured: Path) -> None:
    google = '\n[sources.google]\nkind = "gcs"\nanonymous = true\n'
    pulled = f'{google}subscription = "projects/my-project/subscriptions/news"\n'
    for text, queue in ((google, False), (pulled, True)):
        configured.write_text(CONFIGURATION + text)
        told = json.loads(run("sources", "list", "--json").stdout)["sources"]
        assert [one["queue"] for one in told] == [False, queue]


def test_without_sources_it_says_so(run: Run, folder: Path) -> None:
    assert "no [sources.NAME] table" in run("sources").stdout


def test_setup_names_the_hook_and_the_variable_of_the_secret(run: Run, configured: Path) -> None:
    configured.write_text(
        CONFIGURATION.replace('"a-hook-token-that-is-long"', '"${EXPORTS_TOKEN}"')
    )
    said = run("sources", "setup", "exports", EXPORTS_TOKEN="a-hook-token-that-is-long")
    assert said.exit_code == 0
    assert "https://relay.example.com/hooks/exports" in said.stdout
    assert "$EXPORTS_TOKEN: token of [sources.exports]" in said.stdout
    assert "It shows the token $EXPORTS_TOKEN" in said.stdout
    assert "a-hook-token-that-is-long" not in said.output


def test_a_secret_from_the_environment_is_named_so(run: Run, configured: Path) -> None:
    said = run("sources", "setup", "exports", RELAY_SOURCES__EXPORTS__TOKEN="x" * 30)
    assert "$RELAY_SOURCES__EXPORTS__TOKEN: token" in said.stdout


def test_setup_says_plainly_that_there_is_no_public_url(run: Run, configured: Path) -> None:
    configured.write_text(CONFIGURATION.replace("public_url", "# public_url", 1))
    said = run("sources", "setup", "exports")
    assert "public_url is not set" in said.stdout
    assert "https://YOUR-RELAY.example/hooks/exports" in said.stdout
    told = json.loads(run("sources", "setup", "exports", "--json").stdout)
    assert told["hook"] is None
    assert told["path"] == "/hooks/exports"


def test_setup_says_that_a_secret_it_needs_is_not_set(run: Run, configured: Path) -> None:
    configured.write_text(CONFIGURATION.replace('token = "a-hook-token-that-is-long"\n', ""))
    assert "it is not set yet" in run("sources", "setup", "exports").stdout


def test_setup_as_json_is_the_same_steps(run: Run, configured: Path) -> None:
    told = json.loads(run("sources", "setup", "exports", "--json").stdout)
    assert told["kind"] == "s3"
    assert told["secrets"] == [
        {"setting": "token", "variable": "HOOK_TOKEN", "is_set": True},
        {"setting": "secret", "variable": "HOOK_SECRET", "is_set": False},
    ]
    said = run("sources", "setup", "exports").stdout
    for step in told["steps"]:
        assert step["title"] in said
        assert step["kind"] in ("command", "json", "terraform", "toml", "python", "words")


def test_an_unknown_source_is_told_with_those_there_are(run: Run, configured: Path) -> None:
    for command in ("setup", "capture"):
        said = run("sources", command, "exprots")
        assert said.exit_code == 78
        assert "there is no source exprots" in said.stderr
        assert "exports" in said.stderr


@pytest.mark.parametrize("kind", known("handlers"))
def test_every_kind_of_ours_has_a_recipe_of_its_own(kind: str) -> None:
    assert find("handlers", kind).setup is not StorageHandler.setup
