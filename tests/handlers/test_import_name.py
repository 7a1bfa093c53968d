"""The storages are `relay.handlers`: another top-level package `handlers` does not replace them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from relay.plugins import find, known

cls = find("handlers", "s3")
print(cls.__module__, sys.modules[cls.__module__].__file__, *known("handlers"), sep="\\n")
"""


@pytest.mark.parametrize("decoy", ["handlers/s3.py", "handlers/s3/__init__.py", "s3.py"])
def test_a_foreign_handlers_folder_on_the_path_hides_nothing(tmp_path: Path, decoy: str) -> None:
    file = tmp_path / decoy
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("raise RuntimeError('the decoy was imported')\n")
    (file.parent / "__init__.py").touch()
    (tmp_path / "handlers").mkdir(exist_ok=True)
    (tmp_path / "handlers" / "decoy.py").touch()
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    module, path, *kinds = process.stdout.splitlines()
    assert module == "relay.handlers.s3.handler"
    assert Path(path).resolve() == ROOT / "handlers" / "s3" / "handler.py"
    assert "decoy" not in kinds
