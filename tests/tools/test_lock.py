"""Requirements are pinned, transitive ones too, and agree with pyproject.toml and the imports."""

import ast
import importlib.util
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("lock", Path(__file__).with_name("lock.py"))
lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lock)

FILES = ("requirements.txt", "requirements-dev.txt")


def lines(name: str) -> list[str]:
    """Return the requirements of a file, after those of the included files."""
    requirements = []
    for line in (ROOT / name).read_text().splitlines():
        stripped = re.sub(r"(^|\s)#.*", "", line).strip()
        if stripped.startswith("-r "):
            requirements += lines(stripped.removeprefix("-r ").strip())
        elif stripped:
            requirements.append(stripped)
    return requirements


def closure(requirement: Requirement, visited: set[str]) -> set[str]:
    """Return the names of a requirement and of all that it needs on this machine."""
    (name,) = lock.names(requirement.name)
    extras = requirement.extras or {""}
    key = f"{name}[{','.join(sorted(extras))}]"
    if key in visited:
        return set()
    visited.add(key)
    names = {name}
    for text in requires(requirement.name) or ():
        inner = Requirement(text)
        marker = inner.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            names |= closure(inner, visited)
    return names


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_to_one_version(name):
    for line in lines(name):
        requirement = Requirement(line)
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], line


@pytest.mark.parametrize("name", FILES)
def test_transitive_requirements_are_pinned(name):
    pinned = lock.names("\n".join(lines(name)))
    for line in lines(name):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                missing = closure(requirement, set()) - pinned
            except PackageNotFoundError as error:
                pytest.fail(f"{error.name} is required but not installed: make setup")
            assert not missing, f"{line} pulls in {sorted(missing)}: make lock"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(file: str) -> dict[str, str]:
    """Return the version of each pinned distribution in a requirements file."""
    requirements = map(Requirement, lines(file))
    return {name: str(r.specifier)[2:] for r in requirements for name in lock.names(r.name)}


def test_the_locked_set_is_within_the_ranges_of_the_project():
    pinned = pins("requirements.txt")
    for text in project()["dependencies"]:
        requirement = Requirement(text)
        (name,) = lock.names(requirement.name)
        assert requirement.specifier.contains(pinned[name]), f"{text}: {pinned[name]} is pinned"


def test_the_project_names_every_direct_requirement():
    direct = (ROOT / "requirements.txt").read_text().partition(lock.MARK)[0]
    assert lock.names("\n".join(project()["dependencies"])) == lock.names(direct)


def third_party_imports() -> set[str]:
    """Return the top-level modules that relay/ and handlers/ import, wherever the import stands.

    Not seen: a module that is imported by its name as a text, such as SQLAlchemy's driver.
    """
    found = set()
    for path in [path for top in ("relay", "handlers") for path in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"relay"}


def test_every_import_is_a_declared_dependency():
    extras = [text for texts in project()["optional-dependencies"].values() for text in texts]
    declared = lock.names("\n".join([*project()["dependencies"], *extras]))
    distributions = packages_distributions()
    undeclared = {
        name
        for name in third_party_imports()
        if not lock.names("\n".join(distributions.get(name, ()))) & declared
    }
    assert not undeclared, f"pyproject.toml does not declare {sorted(undeclared)}"


def test_the_extras_are_tested_in_a_version_that_they_allow():
    pinned = pins("requirements-dev.txt")
    for texts in project()["optional-dependencies"].values():
        for requirement in map(Requirement, texts):
            (name,) = lock.names(requirement.name)
            assert requirement.specifier.contains(pinned[name])
            assert name not in pins("requirements.txt"), "an extra is not for production"


def test_the_image_has_the_driver_that_is_tested():
    driver = f'"psycopg[binary]=={pins("requirements-dev.txt")["psycopg"]}"'
    assert driver in (ROOT / "deploy/Dockerfile").read_text()


def test_names_are_normalised():
    text = "Flask==3.1.3  # pages\nruamel.yaml==1\ntypes-PyYAML==6 ; os_name == 'nt'\n# six==1\n"
    assert lock.names(text) == {"flask", "ruamel-yaml", "types-pyyaml"}
