"""The wheel: a single top-level package that is complete and does not need the demo's packages."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = """
[database]
url = "sqlite:///relay.db"
[sources.exports]
kind = "s3"
region = "eu-west-1"
access_key_id = "key"
secret_access_key = "secret"
token = "a-token-of-sixteen"
buckets = ["exports"]
[targets.prod]
kind = "functiongraph"
region = "cn-north-4"
project_id = "0123456789abcdef0123456789abcdef"
access_key = "key"
secret_key = "secret"
[[routes]]
source = "exports"
target = "prod"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built offline from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in ("relay", "handlers"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignored)
    # A zip archive of the checkout has a text file in place of the link.
    (tree / "relay/handlers").unlink()
    (tree / "relay/handlers").write_text("../handlers")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(tree)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_one_package_and_all_that_the_package_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"relay"}
    tracked = {
        path.relative_to(ROOT)
        for folder in ("relay", "handlers")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }
    expected = {
        (Path("relay") / path if path.parts[0] == "handlers" else path).as_posix()
        for path in tracked
    }
    assert expected <= names


def test_it_checks_a_configuration_without_moto_and_beside_another_handlers_folder(wheel, tmp_path):
    installed, decoy = tmp_path / "installed", tmp_path / "decoy"
    zipfile.ZipFile(wheel).extractall(installed)
    (decoy / "handlers").mkdir(parents=True)
    for name in ("__init__.py", "s3.py"):
        (decoy / "handlers" / name).write_text("raise ImportError('the wrong handlers')\n")
    (tmp_path / "relay.toml").write_text(CONFIGURATION)
    program = (
        "import sys; sys.modules['moto'] = None\n"
        "import relay; from relay.cli.main import main\n"
        f"assert relay.__file__.startswith({str(installed)!r}), relay.__file__\n"
        "sys.argv = ['relay', 'check']; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(decoy), str(installed)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
