"""Pins the transitive requirements below the direct ones, in the same file: `make lock`.

A single resolution serves every Python and platform that Relay supports. `--check` writes
nothing and exits with 1 if a file would change.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLDEST_PYTHON = "3.11"
MARK = "# Transitive requirements (written by `make lock`):"


def main(arguments: list[str]) -> int:
    production = (ROOT / "requirements.txt").read_text()
    development = (ROOT / "requirements-dev.txt").read_text()
    new = {"requirements.txt": lock(production, given="")}
    # The production set decides; the test requirements must fit it.
    new["requirements-dev.txt"] = lock(development, given=new["requirements.txt"])
    changed = [name for name, text in new.items() if (ROOT / name).read_text() != text]
    if "--check" in arguments:
        sys.stdout.writelines(f"{name} is not locked: make lock\n" for name in changed)
        return 1 if changed else 0
    for name in changed:
        (ROOT / name).write_text(new[name])
    sys.stdout.write(f"changed: {', '.join(changed) or 'nothing'}\n")
    return 0


def lock(text: str, given: str) -> str:
    """Return the direct requirements and, below the mark, every other pin that `given` lacks."""
    direct = text.partition(f"\n{MARK}")[0].rstrip("\n")
    own = "\n".join(line for line in direct.splitlines() if not line.startswith("-r "))
    skipped = names(own) | names(given)
    pins = [line for line in resolve(f"{given}\n{own}") if not names(line) & skipped]
    return "\n".join([direct, "", MARK, *pins, ""])


def resolve(requirements: str) -> list[str]:
    """Return `name==version ; marker` for every distribution that the requirements need."""
    command = ["uv", "pip", "compile", "--universal", f"--python-version={OLDEST_PYTHON}"]
    command += ["--no-header", "--no-annotate", "--quiet", "-"]
    done = subprocess.run(
        command, input=requirements, cwd=ROOT, capture_output=True, check=False, text=True
    )
    if done.returncode:
        raise SystemExit(f"uv cannot resolve the requirements:\n{done.stderr}")
    return done.stdout.splitlines()


def names(text: str) -> set[str]:
    """Return the normalised names of the distributions: lower-case, with hyphens."""
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
