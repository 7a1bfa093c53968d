"""The example in handlers/README.md: it is found by dotted path and passes the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "handlers" / "README.md"

BREAKAGES = {
    "unpinned": ("if ref.etag not in (None, etag):", "if False:"),
    "unranged": ("file.seek(start)", "file.seek(0)"),
    "leaky": ("except (OSError, UnicodeError) as error:", "except KeyError as error:"),
    "trusting": ('etag=text(record, "etag")', 'etag=record["etag"]'),
    "short": ("- start)", "- start - 1)"),
    "unchecked": ('count_or_none(record, "size")', 'record.get("size")'),
    "nameless": ('f"etag:{ref.etag}"', '""'),
    "lax": (
        "Settings = NasSettings",
        "Settings = type('L', (NasSettings,), {}, extra='allow')",
    ),
}
"""Defects of a handler that the suite must detect."""


def blocks() -> dict[str, str]:
    found = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", README.read_text(), re.DOTALL)
    assert [name for name, _ in found] == ["nas.py", "test_nas.py", "announce.py"]
    return dict(found[:2])


def suite(folder: Path) -> str:
    """The output of pytest for the tests in a folder outside of the project."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-W", "error", "--tb=no"]
    paths = os.pathsep.join([str(folder), str(README.parents[1])])
    process = subprocess.run(
        [*command, "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return process.stdout + process.stderr


def test_the_example_passes_the_suite(tmp_path: Path) -> None:
    for name, code in blocks().items():
        (tmp_path / name).write_text(code)
    output = suite(tmp_path)
    assert re.search(r"^\d\d passed, 2 skipped in", output, re.MULTILINE), output


def test_the_suite_detects_a_defective_handler(tmp_path: Path) -> None:
    handler, test = blocks().values()
    for name, (right, wrong) in BREAKAGES.items():
        assert handler.count(right) == 1, right
        (tmp_path / f"{name}.py").write_text(handler.replace(right, wrong))
        (tmp_path / f"test_{name}.py").write_text(test.replace("nas:Handler", f"{name}:Handler"))
    detected = set(re.findall(r"^FAILED test_(\w+)\.py", suite(tmp_path), re.MULTILINE))
    assert detected == set(BREAKAGES)


def test_the_table_names_every_kind_of_ours() -> None:
    table = README.read_text().partition("## Kinds")[2]
    named = set(re.findall(r"^\| `([a-z0-9]+)` \|", table, re.MULTILINE))
    folder = README.parent
    paths = [*folder.glob("*.py"), *(path.parent for path in folder.glob("*/__init__.py"))]
    ours = {path.stem for path in paths if not path.name.startswith("_")}
    assert named == ours
