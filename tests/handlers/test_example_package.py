"""The example of a handler that is a package: installed, found by its entry point, and at work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "example_package"

CONFIGURATION = """
[database]
url = "sqlite:///{folder}/relay.db"
[sources.attic]
kind = "shelf"
folder = "{folder}/attic"
token = "a-token-of-the-attic"
[targets.prod]
kind = "functiongraph"
region = "cn-north-4"
project_id = "0123456789abcdef0123456789abcdef"
endpoint = "http://127.0.0.1:9"
access_key = "ak"
secret_key = "sk-of-the-tests"
[[routes]]
source = "attic"
key = "*.zip"
target = "prod"
"""

PROGRAM = """
import json, sys
from relay.ledger import DeliveryQuery
from relay.app.wsgi import create

app = create()
relay = app.extensions["relay"]
headers = {"Authorization": "Bearer a-token-of-the-attic"}
answers = [app.test_client().post("/hooks/attic", json=json.loads(sys.argv[1]), headers=one)
           for one in (headers, {})]
page = relay.ledger.history.deliveries(DeliveryQuery())
event = relay.ledger.history.event(page.items[0].event_id)
stream = relay.plugins.sources["attic"].open(event.object)
told = {
    "statuses": [one.status_code for one in answers],
    "deliveries": [[one.source, one.bucket, one.key, one.destination, one.state]
                   for one in page.items],
    "read": stream.read(100).decode(),
}
stream.close()
relay.close()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the example, with nothing from anywhere else."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # building leaves traces
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--target", str(folder / "site"), str(folder / "source")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(site: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**kept, **environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "attic").mkdir()
    file = tmp_path / "relay.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path))
    return str(file)


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_its_kind_is_found_by_entry_point_and_by_nothing_else(site: Path, config: str) -> None:
    check = ("-m", "relay", "--config", config, "check", "--json")
    assert told(run(site, *check))["ok"]
    without = run(ROOT, *check)
    assert without.returncode == 78
    assert json.loads(without.stdout)["errors"][0]["path"] == "sources.attic.kind"


def test_a_notification_to_its_hook_becomes_a_delivery(site: Path, config: str) -> None:
    book = Path(config).parent / "attic" / "a.zip"
    book.write_text("a whole book")
    seen = book.stat()
    etag = f"{seen.st_ino}-{seen.st_size}-{seen.st_mtime_ns}"
    news = {"event": "shelved", "shelf": "attic", "title": "a.zip", "etag": etag, "size": 12}
    done = told(run(site, "-c", PROGRAM, json.dumps(news), RELAY_CONFIG=config))
    assert done["statuses"] == [200, 401]
    assert done["deliveries"] == [["attic", "attic", "a.zip", "prod", "pending"]]
    assert done["read"] == "a whole book"


def test_its_own_tests_pass_where_it_is_installed(site: Path) -> None:
    tests = EXAMPLE / "tests"
    done = run(site, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tests))
    assert done.returncode == 0, done.stdout


def test_the_page_shows_the_same_files() -> None:
    page = (ROOT / "handlers" / "README.md").read_text()
    for name in ("src/shelf.py", "tests/test_shelf.py", "pyproject.toml"):
        assert (EXAMPLE / name).read_text() in page, f"handlers/README.md shows another {name}"


def test_setup_tells_of_a_strangers_kind_too(site: Path, config: str) -> None:
    setup = ("-m", "relay", "--config", config, "sources", "setup", "attic", "--json")
    steps = told(run(site, *setup))["steps"]
    assert any("/hooks/attic" in step["title"] + step["text"] for step in steps)
