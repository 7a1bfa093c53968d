"""English and Chinese texts come in pairs: neither is empty, and they differ."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAME = {
    "ETag": "the name of the HTTP header",
}
"""Texts that are right in both languages, each with the reason."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;!?](?![\w/.-])|[\u4e00-\u9fff]:\s")


def pairs():
    """Every `Localized(english, chinese)` of the code: file, line, and both as source."""
    for folder in ("relay", "handlers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_relative_to(ROOT / "relay/handlers"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if is_pair(node):
                    english, chinese = node.args
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text(english), text(chinese)


def is_pair(node):
    named = isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Localized")
    return named and len(node.args) == 2 and not isinstance(node.args[0], ast.Starred)


def text(node):
    """The text of a literal, with fields as {}; None for an expression that is no literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
    return None


PAIRS = [pair for pair in pairs() if pair[1] is not None and pair[2] is not None]


def test_there_are_pairs_to_check():
    assert len(PAIRS) > 500


def test_no_text_is_empty_in_one_language_only():
    wrong = [
        where for where, english, chinese in PAIRS if bool(english.strip()) != bool(chinese.strip())
    ]
    assert not wrong


def test_the_languages_differ():
    wrong = [
        f"{where}: {english}"
        for where, english, chinese in PAIRS
        if english == chinese
        and re.search("[a-z]{2}", english.replace("{}", ""))
        and english not in SAME
    ]
    assert not wrong, "\n".join(wrong)


def test_a_chinese_text_is_chinese_and_an_english_text_is_not():
    wrong = [
        f"{where}: {english!r}, {chinese!r}"
        for where, english, chinese in PAIRS
        if CHINESE.search(english)
        or (re.search(r"[A-Za-z]{2,} [a-z]{2,}", english) and not CHINESE.search(chinese))
    ]
    assert not wrong, "\n".join(wrong)


def test_chinese_texts_have_full_width_punctuation():
    wrong = [f"{where}: {chinese}" for where, _, chinese in PAIRS if HALF_WIDTH.search(chinese)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("text", sorted(SAME))
def test_every_exception_is_needed(text):
    assert any(english == chinese == text for _, english, chinese in PAIRS)
