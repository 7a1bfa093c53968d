"""Counts the words that make prose hard to read, in docstrings, comments and documents.

Run from the project's root: `python tests/tools/prose.py [--files] [PATH ...]`. It prints each
count per 10,000 words and ends with 1 where a count exceeds the highest measured in the model
codebases (healthchecks, dramatiq, smart_open).
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PER = 10_000


@dataclass(frozen=True)
class Rule:
    """A word to count. `limit`: per 10,000 words; 0 allows none."""

    name: str
    pattern: re.Pattern[str]
    limit: float


RULES = (
    Rule("told, tell, tells", re.compile(r"\b(?:told|tells?)\b", re.IGNORECASE), 3),
    Rule("one", re.compile(r"\bone\b", re.IGNORECASE), 16),
    Rule("its", re.compile(r"\bits\b", re.IGNORECASE), 16),
    Rule(
        "nobody, somebody, anybody, everybody",
        re.compile(r"\b(?:no|some|any|every)body\b", re.IGNORECASE),
        0,
    ),
    Rule("whatever, whoever", re.compile(r"\b(?:what|who)ever\b", re.IGNORECASE), 2),
    Rule(
        "headless Who, What, Which",
        re.compile(r"(?:^|(?<=[.!?] )|(?<=[.!?]\n))(?:Who|What|Which)\b[^.?!]*(?:[.!]|$)"),
        0,
    ),
)
DOCUMENTS = ("*.md",)
SKIPPED = ("README.zh-CN.md", "tests/torture/latest.md", "LICENSE")
"""Files without English prose of ours."""


def tracked(paths: list[str]) -> list[Path]:
    """The files of the project (or of `paths`) that are read."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    found = {name for name in names.split("\0") if name.endswith((".py", ".md"))}
    return [ROOT / name for name in sorted(found - set(SKIPPED)) if (ROOT / name).is_file()]


def texts(path: Path) -> Iterator[str]:
    """The prose of a file, piece by piece: a docstring, a run of comments, a paragraph."""
    source = path.read_text("utf-8")
    if path.suffix == ".md":
        prose = re.sub(r"(?ms)^```.*?^```", "", source)
        yield from (re.sub(r"`[^`]*`", "CODE", part) for part in prose.split("\n\n"))
        return
    yield from docstrings(source)
    yield from comments(source)


def docstrings(source: str) -> Iterator[str]:
    """Docstrings, those of attributes and constants included."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield re.sub(r"`[^`]*`", "CODE", text)


def comments(source: str) -> Iterator[str]:
    """Comments; those on consecutive lines are one text."""
    run: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or re.match(r"#\s*(?:noqa|type:|!)", token.string):
            continue
        line = token.start[0]
        if run and line != last + 1:
            yield " ".join(run)
            run = []
        run.append(re.sub(r"`[^`]*`", "CODE", token.string.lstrip("# ")))
        last = line
    if run:
        yield " ".join(run)


def count(paths: list[Path]) -> tuple[int, dict[str, dict[Path, int]]]:
    """The number of words, and for each rule how often each file breaks it."""
    words = 0
    found: dict[str, dict[Path, int]] = {rule.name: {} for rule in RULES}
    for path in paths:
        for text in texts(path):
            words += len(re.findall(r"[A-Za-z']+", text))
            for rule in RULES:
                if number := len(rule.pattern.findall(text)):
                    found[rule.name][path] = found[rule.name].get(path, 0) + number
    return words, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "paths", nargs="*", default=["relay", "handlers", "deploy", "tests", "*.md"]
    )
    parser.add_argument("--files", action="store_true", help="list the files behind each count")
    arguments = parser.parse_args()
    words, found = count(tracked(arguments.paths))
    failed = False
    print(f"{words} words")
    for rule in RULES:
        total = sum(found[rule.name].values())
        rate = total * PER / max(words, 1)
        over = rate > rule.limit
        failed |= over
        mark = "  TOO MANY" if over else ""
        print(f"{rate:7.1f}  (limit {rule.limit}, {total} in all)  {rule.name}{mark}")
        for path, number in sorted(found[rule.name].items(), key=lambda item: -item[1]):
            if arguments.files:
                print(f"         {number:4}  {path.relative_to(ROOT)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
