"""Rules of style that a program can check; CONTRIBUTING.md has the others."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 400
FORBIDDEN = "util utils common helper helpers misc"
"""Words that name no responsibility."""

THIRD_PERSON = re.compile(r"(?!(?:Always|Responses|Seconds|Status)\b)[A-Z][a-z]+[^\Ws]s\b")
"""The first word of a docstring such as "Returns the size". The excluded words are no verbs."""

MACHINE = re.compile(r"(?<![\w.$}])/(work|root|Users|home/(?!relay\b)[a-z])[/\w]")
UNNAMED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\([\w.@-]+\))")
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".html", ".css", ".js", ".json", ".http"}


def tracked() -> list[Path]:
    """Every file of the project, also one that is about to be added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return sorted(path for name in set(listed.split("\0")) if (path := ROOT / name).is_file())


FILES = tracked()
MODULES = [
    path
    for path in FILES
    if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("relay", "handlers", "deploy")
]
TEXTS = [path for path in FILES if path.suffix in TEXT or not path.suffix]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def named(tree: ast.AST) -> Iterator[str]:
    """Every name that the module gives: classes, functions, parameters, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # The promises of a suite are sentences, not names.
            if not node.name.startswith("test_"):
                yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def words(name: str) -> list[str]:
    """`makeTask_list` -> make, task, list"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")


def forbidden(name: str) -> set[str]:
    return set(words(name)) & set(FORBIDDEN.split())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is_for(path):
    source = path.read_text()
    lines = source.count("\n")
    assert lines <= LONGEST, f"{name_of(path)} has {lines} lines: it does more than one thing"
    docstring = ast.get_docstring(ast.parse(source))
    assert docstring or not source.strip(), f"{name_of(path)} does not say what it is for"


def third_person(tree: ast.AST) -> list[str]:
    """The first lines of the docstrings of functions that describe instead of instruct."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, functions)]
    return [text.splitlines()[0] for text in docstrings if THIRD_PERSON.match(text)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_of_functions_are_in_the_imperative(path):
    wrong = third_person(ast.parse(path.read_text()))
    assert not wrong, f"{name_of(path)}: {wrong}; say Return, not Returns (PEP 257)"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_are_of_our_words(path):
    wrong = [
        f"`{name}` contains {sorted(found)}"
        for name in sorted(set(named(ast.parse(path.read_text()))))
        if (found := forbidden(name))
    ]
    assert not wrong, f"{name_of(path)}: {', '.join(wrong)}; CONTRIBUTING.md has our words"


def test_files_are_named_by_our_words():
    wrong = [
        name_of(path)
        for path in MODULES
        if any(forbidden(part) for part in re.split(r"[/.-]", name_of(path)))
    ]
    assert not wrong


def test_no_file_knows_the_machine_it_was_written_on():
    found = [
        f"{name_of(path)}, line {number}"
        for path in TEXTS
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert not found, f"a path of one machine: {found}"


def test_no_file_names_where_packages_come_from():
    """The package registry belongs into the configuration of pip, apt and npm."""
    installing = [ROOT / name for name in ("Makefile", ".ci/run", "deploy/Dockerfile")]
    for path in [*ROOT.glob("requirements*.txt"), *installing]:
        found = re.findall(
            r"--(?:extra-)?index-url|--find-links|https?://(?!127\.)\S+", path.read_text()
        )
        assert not found, f"{name_of(path)} says {found}"


def test_every_todo_has_a_name():
    found = [
        name_of(path)
        for path in TEXTS
        if path != Path(__file__) and UNNAMED.search(path.read_text("utf-8", "replace"))
    ]
    assert not found, f"say who, as in TODO(name), or do it: {found}"


def test_these_rules_see_what_they_forbid():
    tree = ast.parse("class MiscUtils:\n    def handle(self, common):\n        self.helpers = 1")
    assert {word for name in named(tree) for word in forbidden(name)} == {
        "misc",
        "utils",
        "common",
        "helpers",
    }
    assert not forbidden("uncommon")
    code = 'class A:\n    """Holds."""\n    def {}():\n        """{}"""'
    assert third_person(ast.parse(code.format("f", "Returns the size.\n\nMore."))) == [
        "Returns the size."
    ]
    for text in ("Return it.", "Seconds.", "Access to it.", "Whether it ends.", ""):
        assert not third_person(ast.parse(code.format("f", text)))
    assert MACHINE.search("see /work" + "/main/relay")
    assert not MACHINE.search("https://example.com/work/1")
    assert UNNAMED.search("TO" + "DO: later")
    assert not UNNAMED.search("TO" + "DO(ada): later")
