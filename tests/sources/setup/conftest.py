"""Set-up contexts, and checks of set-up steps that need no storage."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

from relay.config.load import Route, SourceSettings
from relay.sources.s3.storage import S3Settings
from relay.sources.setup.steps import SetupContext, Step

TOKEN = "s3cr3t-token-of-the-hook"
SECRET = "s3cr3tkeyfornotifications32chars"
URL = "https://relay.example.com/hooks/exports"


def setup_context(
    *,
    keys: tuple[str, ...] = ("prod/*.zip",),
    arn: str | None = None,
    public_url: str | None = "https://relay.example.com/",
    source: type[SourceSettings] = S3Settings,
    **settings: Any,
) -> SetupContext:
    """The set-up context of source `exports`, with a route for each of `keys`."""
    table = {"kind": "s3", "token": TOKEN, "secret": SECRET, "buckets": ["exports"], **settings}
    routes = tuple(Route(source="exports", key=key, target="prod") for key in keys)
    made = source.model_validate(table)
    return SetupContext("exports", made, routes, public_url, arn, {"token": "MY_TOKEN"})


def check(steps: list[Step]) -> str:
    """Check the syntax of every step, and that no step contains a secret; return all text."""
    assert steps
    for step in steps:
        assert step.title.en
        assert step.title.zh
        _CHECKS[step.kind](step.text)
    text = "\n".join(f"{step.title.en}\n{step.title.zh}\n{step.text}" for step in steps)
    assert "s3cr3t" not in text
    return text


def _shell(text: str) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=text, capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    assert text.strip()


def _terraform(text: str) -> None:
    """Check strings, brackets, block types, names and variables."""
    open_brackets = []
    for token in tokens(text):
        if token in "{[(":
            open_brackets.append(token)
        elif token in "}])":
            assert open_brackets, text
            assert open_brackets.pop() + token in ("{}", "[]", "()"), text
    assert not open_brackets, text
    assert re.match(r'(resource|variable|data) "', text)
    names = re.findall(r'^(?:resource|variable|data) ("[^"]+"(?: "[^"]+")?) \{$', text, re.M)
    assert len(names) == len(set(names)) > 0
    used = set(re.findall(r"\bvar\.(\w+)", text))
    assert used == set(re.findall(r'^variable "(\w+)"', text, re.M))


def tokens(text: str) -> Iterator[str]:
    """The brackets outside of quoted strings."""
    position = 0
    while position < len(text):
        if text[position] == '"':
            end = re.compile(r'"(?:[^"\\\n]|\\.)*"').match(text, position)
            assert end, f"a string does not end: {text[position : position + 60]}"
            position = end.end()
            continue
        if text[position] in "{}[]()":
            yield text[position]
        position += 1


_CHECKS = {
    "command": _shell,
    "json": json.loads,
    "terraform": _terraform,
    "toml": tomllib.loads,
    "python": lambda text: compile(text, "step", "exec"),
    "words": lambda text: None,
}
