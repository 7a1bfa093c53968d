"""The example package of a handler: installation, entry point, and a notification."""

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
[sources.exports]
kind = "nas"
folder = "{folder}/exports"
token = "a-token-of-the-exports"
[targets.prod]
kind = "functiongraph"
region = "cn-north-4"
project_id = "0123456789abcdef0123456789abcdef"
endpoint = "http://127.0.0.1:9"
access_key = "ak"
secret_key = "sk-of-the-tests"
[[routes]]
source = "exports"
key = "*.zip"
target = "prod"
"""

PROGRAM = """
import json, sys
from relay.ledger import DeliveryQuery
from relay.app.wsgi import create

app = create()
relay = app.extensions["relay"]
headers = {"Authorization": "Bearer a-token-of-the-exports"}
answers = [app.test_client().post("/hooks/exports", json=json.loads(sys.argv[1]), headers=item)
           for item in (headers, {})]
page = relay.ledger.history.deliveries(DeliveryQuery())
event = relay.ledger.history.event(page.items[0].event_id)
stream = relay.plugins.sources["exports"].open(event.object)
read_output = {
    "statuses": [item.status_code for item in answers],
    "deliveries": [[item.source, item.bucket, item.key, item.destination, item.state]
                   for item in page.items],
    "read": stream.read(100).decode(),
}
stream.close()
relay.close()
print(json.dumps(read_output))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with only the example, installed by pip."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")  # the build writes into the folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index"]
    process = subprocess.run(
        [*command, "--target", str(folder / "site"), str(folder / "source")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
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
    (tmp_path / "exports").mkdir()
    file = tmp_path / "relay.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path))
    return str(file)


def read_output(process: subprocess.CompletedProcess[str]) -> Any:
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads(process.stdout)


def test_the_kind_is_found_only_by_entry_point(site: Path, config: str) -> None:
    check = ("-m", "relay", "--config", config, "check", "--json")
    assert read_output(run(site, *check))["ok"]
    without = run(ROOT, *check)
    assert without.returncode == 78
    assert json.loads(without.stdout)["errors"][0]["path"] == "sources.exports.kind"


def test_a_notification_to_its_hook_becomes_a_delivery(site: Path, config: str) -> None:
    file = Path(config).parent / "exports" / "a.zip"
    file.write_text("file content")
    status = file.stat()
    etag = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
    news = {"event": "created", "volume": "exports", "path": "a.zip", "etag": etag, "size": 12}
    process = read_output(run(site, "-c", PROGRAM, json.dumps(news), RELAY_CONFIG=config))
    assert process["statuses"] == [200, 401]
    assert process["deliveries"] == [["exports", "exports", "a.zip", "prod", "pending"]]
    assert process["read"] == "file content"


def test_the_tests_of_the_package_pass(site: Path) -> None:
    tests = EXAMPLE / "tests"
    process = run(site, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tests))
    assert process.returncode == 0, process.stdout


def test_the_page_shows_the_same_files() -> None:
    page = (ROOT / "handlers" / "README.md").read_text()
    for name in ("src/nas.py", "tests/test_nas.py", "pyproject.toml"):
        assert (EXAMPLE / name).read_text() in page, f"handlers/README.md shows another {name}"


def test_setup_works_for_the_kind_of_the_package(site: Path, config: str) -> None:
    setup = ("-m", "relay", "--config", config, "sources", "setup", "exports", "--json")
    steps = read_output(run(site, *setup))["steps"]
    assert any("/hooks/exports" in step["title"] + step["text"] for step in steps)
