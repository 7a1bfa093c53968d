"""What the requirements pull in is pinned in the same files."""

import importlib.util
import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("lock", Path(__file__).with_name("lock.py"))
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)

FILES = ("requirements.txt", "requirements-dev.txt")


def lines(name: str) -> list[str]:
    """The requirements of a file, those of the files that it includes first."""
    found = []
    for line in (ROOT / name).read_text().splitlines():
        stripped = re.sub(r"(^|\s)#.*", "", line).strip()
        if stripped.startswith("-r "):
            found += lines(stripped.removeprefix("-r ").strip())
        elif stripped:
            found.append(stripped)
    return found


def needed(requirement: Requirement, seen: set[str]) -> set[str]:
    """The names of all that this machine needs for a requirement, itself included."""
    (name,) = lock.names(requirement.name)
    extras = requirement.extras or {""}
    key = f"{name}[{','.join(sorted(extras))}]"
    if key in seen:
        return set()
    seen.add(key)
    found = {name}
    for text in requires(requirement.name) or ():
        inner = Requirement(text)
        marker = inner.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            found |= needed(inner, seen)
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_to_one_version(name):
    for line in lines(name):
        requirement = Requirement(line)
        assert [one.operator for one in requirement.specifier] == ["=="], line


@pytest.mark.parametrize("name", FILES)
def test_what_they_pull_in_is_pinned_too(name):
    pinned = lock.names("\n".join(lines(name)))
    for line in lines(name):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                missing = needed(requirement, set()) - pinned
            except PackageNotFoundError as error:
                pytest.fail(f"{error.name} is required but not installed: make setup")
            assert not missing, f"{line} pulls in {sorted(missing)}: make lock"


def test_one_driver_of_postgresql_everywhere():
    """Named by the extra, the image and the tests; not by what a relay on SQLite installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (driver,) = project["optional-dependencies"]["postgresql"]
    assert driver in lines("requirements-dev.txt")
    assert f'"{driver}"' in (ROOT / "deploy/Dockerfile").read_text()
    assert not lock.names(driver) & lock.names("\n".join(lines("requirements.txt")))


def test_a_name_is_one_however_it_is_written():
    text = "Flask==3.1.3  # pages\nruamel.yaml==1\ntypes-PyYAML==6 ; os_name == 'nt'\n# six==1\n"
    assert lock.names(text) == {"flask", "ruamel-yaml", "types-pyyaml"}
