"""The documents say what is so: their commands, paths, links, settings and numbers are checked."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from relay import plugins as loader
from relay.cli.main import COMMANDS, cli
from relay.config import load as settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "README.zh-CN.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "relay/README.md",
        "handlers/README.md",
        "deploy/README.md",
    )
]
LONGEST_README = 150
ELSEWHERE = {"docker", "sqlite3", "cp"}
"""Programs that are not ours; the paths they are given must be all the same."""
MADE = re.compile(r"^(\.venv|var|.*\.env$|\./relay\.toml)")
"""Paths that come into being by following the page."""


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def fences(path, language):
    """The text of each fenced block of that language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", path.read_text())


def commands(path):
    """Every line of the console blocks, and every `relay ...`, `make ...` in the text."""
    lines = [line for block in fences(path, "console") for line in block.splitlines() if line]
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
    spans = re.findall(r"`((?:make|relay|python -m relay) [a-z][^`]*)`", text)
    return [*lines, *spans]


SAID = [(page, line) for page in PAGES for line in commands(page)]


def targets():
    return set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))


def check_relay(arguments):
    """Check that the command and the options exist."""
    name = arguments[0] if arguments else ""
    assert name in COMMANDS, f"relay has no command {name!r}"
    command = cli.get_command(click.Context(cli), name)
    while isinstance(command, click.Group) and len(arguments) > 1:
        arguments = arguments[1:]
        command = command.get_command(click.Context(command), arguments[0])
        assert command, f"there is no {arguments[0]}"
    known = {option for one in command.params for option in one.opts + one.secondary_opts}
    for argument in arguments[1:]:
        if argument.startswith("-"):
            assert argument.split("=")[0] in known, f"{name} has no option {argument}"


def check_make(arguments):
    for argument in arguments:
        assert "=" in argument or argument in targets(), f"the Makefile has no {argument}"


def check_path(argument):
    if (
        "/" in argument
        and re.fullmatch(r"[\w.-]+(/[\w.-]+)+", argument)
        and not MADE.match(argument)
    ):
        assert (ROOT / argument).exists(), f"{argument} is not there"


@pytest.mark.parametrize(("page", "line"), SAID, ids=[f"{name_of(p)}: {line}" for p, line in SAID])
def test_a_command_can_be_typed(page, line):
    program, *arguments = shlex.split(line, comments=True)
    if (program, *arguments[:2]) == ("python", "-m", "relay"):
        program, arguments = "relay", arguments[2:]
    if program == "relay":
        check_relay(arguments)
    elif program == "make":
        check_make(arguments)
    else:
        for argument in arguments:
            check_path(argument)
        known = ELSEWHERE | {".", "python", "gunicorn"}
        assert program in known, f"{name_of(page)} calls {program}, which nobody here has"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith(("https://", "http://", "mailto:")):
            file, _, anchor = link.partition("#")
            assert (page.parent / file).exists(), f"{name_of(page)} leads to {link}"
            assert not anchor, "no anchors: they rot unseen"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_cites_line_numbers(page):
    assert not re.findall(r"\w\.py:\d+|#L\d+", page.read_text())


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_short(name):
    assert len((ROOT / name).read_text().splitlines()) <= LONGEST_README


def test_both_readmes_show_the_same_commands_and_settings():
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    assert fences(english, "console") == fences(chinese, "console")
    # The words of a comment differ, and `language`, which is the reader's.
    plain = [
        re.sub(r"\s*#.*|language = .*\n", "", fences(p, "toml")[0]) for p in (english, chinese)
    ]
    assert plain[0] == plain[1]
    links = [set(re.findall(r"\]\(([^)]+)\)", p.read_text())) for p in (english, chinese)]
    assert links[0] - {"README.zh-CN.md"} == links[1] - {"README.md"}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_configuration_of_the_readme_loads(name, tmp_path):
    (text,) = fences(ROOT / name, "toml")
    for secret in re.findall(r"\$\{file:([^}]+)\}", text):
        (tmp_path / "secret").write_text("hush\n")
        text = text.replace(secret, str(tmp_path / "secret"))
    environment = dict.fromkeys(re.findall(r"\$\{([A-Z0-9_]+)", text), "a" * 32)
    environment |= {one: "https://example.com/hook" for one in environment if one.endswith("URL")}
    (tmp_path / "relay.toml").write_text(text)
    loaded = settings.load(tmp_path / "relay.toml", environment, loader.settings_class)
    assert loaded.routes
    assert loaded.channels


class Torture:
    """The rows of latest.md by scenario, on both engines."""

    def __init__(self):
        self.text = (ROOT / "tests/torture/latest.md").read_text()
        cells = [line.split(" | ") for line in self.text.splitlines() if line.startswith("| ")]
        self.rows = [(id_[2:], int(runs), result) for id_, _, _, runs, result, *_ in cells[1:]]

    def runs(self, *scenarios):
        return sum(runs for id_, runs, _ in self.rows if id_.split()[0] in scenarios)

    def all(self, scenario, figure):
        """Return the numbers that follow `figure` in the rows of a scenario."""
        results = " ".join(result for id_, _, result in self.rows if id_.split()[0] == scenario)
        found = re.findall(rf"{figure} ([\d.]+)", results)
        assert found, f"latest.md has no {figure!r} for {scenario}"
        return [float(one) if "." in one else int(one) for one in found]


def proven():
    """The figures of each line of README's table of torture; the first ones: of the text above."""
    of = Torture()
    medians, stopped = of.all("K1", "median s"), of.all("K3", "'SIG[A-Z]+':")
    taken = [*of.all("T1", "done after s"), *of.all("F1", "kill s"), *of.all("F1", "over after s")]
    (soak,) = re.findall(r"RSS MiB, halves \[([\d.]+), ([\d.]+)\]", of.text)
    return [
        [len(of.rows), of.runs("M3"), *map(float, soak), max(of.all("M3", r"halves \[\d+,"))],
        [of.runs("K1"), min(medians), max(medians), max(of.all("K1", "resumed within s"))],
        [of.runs("K4"), sum(of.all("K4", "200:")), max(of.all("K4", "longest drain s"))],
        [of.runs("A1", "A2", "A3")],
        [of.runs("T1", "F1"), min(taken), max(taken), *of.all("T1", "lease s")],
        [of.runs("N1"), *of.all("N1", "messages afterwards")],
        [of.runs("S4"), *of.all("S4", "FULL"), *of.all("S4", "no syncs")],
        [sum(of.all("K2", "kills")), sum(stopped), of.runs("K2", "K3")],
    ]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_figures_of_the_torture_are_those_of_its_last_run(name):
    text = (ROOT / name).read_text()
    above, _, below = text.partition("\n|---|---|---|\n")
    lines = [above[above.index("make torture") :], *below.split("\n\n")[0].splitlines()]
    for line, figures in zip(lines, proven(), strict=True):
        written = re.findall(r"\d[\d,]*(?:\.\d+)?", line)
        for figure in figures:
            assert f"{figure:,}" in written, f"{name} does not say {figure:,}, as latest.md: {line}"


def test_every_setting_stands_in_the_page_of_deploy():
    spec = importlib.util.spec_from_file_location(
        "settings_table", ROOT / "tests/tools/settings_table.py"
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = tool.PAGE.read_text()
    assert tool.with_tables(text) == text, "run: python tests/tools/settings_table.py"
    empty = [line for line in tool.tables().splitlines() if line.endswith("|  |")]
    assert not empty, f"a setting without a sentence (Field(description=...)): {empty}"


def test_every_command_is_documented():
    text = "".join(page.read_text() for page in PAGES)
    missing = [name for name in COMMANDS if f"relay {name}" not in text]
    assert not missing


ARCHITECTURE = (ROOT / "relay/README.md").read_text()
PATHS = sorted(set(re.findall(r"`((?!tests/)\w+/[\w/]+\.py)`", ARCHITECTURE)))


def test_the_architecture_names_every_package():
    rows = "\n".join(re.findall(r"(?m)^\| `.*", ARCHITECTURE))
    named = {name.strip("/") for name in re.findall(r"`([\w./]+)`", rows)}
    entries = {path.name for path in (ROOT / "relay").iterdir() if path.suffix in ("", ".py")}
    missing = entries - named - {"__init__.py", "__main__.py", "__pycache__"}
    assert not missing, f"relay/README.md does not explain {sorted(missing)}"


@pytest.mark.parametrize("path", PATHS)
def test_a_path_in_the_architecture_exists(path):
    assert (ROOT / "relay" / path).exists()


def test_where_is_names_a_path_for_every_question():
    section = ARCHITECTURE.partition("## Where is")[2]
    rows = re.findall(r"(?m)^\| (Where .*\?) \| `(.*)` \|$", section)
    assert len(rows) == section.count("\n| ") - 1
    wrong = [question for question, path in rows if not (ROOT / "relay" / path).is_file()]
    assert not wrong


def test_the_changelog_begins_with_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"(?m)^## (.*)", text)
    assert headings[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", one) for one in headings[1:])
    kinds = set(re.findall(r"(?m)^### (.*)", text))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_documented_backup_works(tmp_path):
    import sqlite3
    from contextlib import closing

    (tmp_path / "var").mkdir()
    with closing(sqlite3.connect(tmp_path / "var/relay.db")) as ledger:
        ledger.execute("create table delivery as select 'd1' as id")
        ledger.commit()
        lines = [one for one in commands(ROOT / "deploy/README.md") if one.startswith("python -c")]
        (_, *arguments) = shlex.split(lines[0])
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True)
    with closing(sqlite3.connect(tmp_path / "var/backup.db")) as copy:
        assert copy.execute("select id from delivery").fetchall() == [("d1",)]
