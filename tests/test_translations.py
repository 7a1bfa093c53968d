"""English and Chinese texts come in pairs: neither is empty, and they differ.

The pairs are read from the source: the arguments of `Localized`, and of functions with parameters
`en, zh` or `english, chinese`. Literals, f-strings, their sums and constants of the same module
are texts; any other expression needs a reason in COMPUTED. Not seen: a field of an f-string that is
empty at run time; errors whose only text is a plain string, which serves both languages; the
texts in templates (`.html`); whether a translation says the same.
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from relay.delivery.final_hint import final_hint
from relay.model import Localized

ROOT = Path(__file__).resolve().parents[1]
SAME = {
    "CRC": "the name of the checksum",
    "ETag": "the name of the HTTP header",
    "ID": "the usual word in both languages",
    "SHA-512": "the name of the digest",
    "URN": "the usual word in both languages",
}
"""Texts that are right in both languages, each with the reason."""
COMPUTED = {
    "relay/archive/directory.py differences": "joins names that are pairs themselves",
    "relay/archive/findings.py _finding": "fills in a text of archive/texts.py",
    "relay/channels/messages.py _in_both_languages": "a plain text serves both languages",
    "relay/channels/messages.py _localize_value": "reads a stored pair",
    "relay/channels/messages.py _reason": "a reason without a sentence: the code itself",
    "relay/delivery/final_hint.py final_hint": "shortens a pair",
    "relay/delivery/settings_differences.py _join": "joins pairs",
    "relay/ledger/errors.py translate": "reads _KNOWN_ERRORS; else the message of the driver",
    "relay/errors.py _text": "a plain string serves both languages",
    "relay/model.py from_json": "reads a stored pair",
    "relay/model.py words": "names and values, the same in both languages",
    "relay/outbound/responses.py without_nothing_changed": "shortens a pair",
    "relay/testing/channel_suite.py test_hostile_text_is_harmless": "hostile text of a test",
    "relay/testing/sandbox/faults.py _invalid": "an option of a command: English only",
    "relay/web/filters.py warnings": "reads a stored pair",
    "relay/web/problems.py _http_problem": "werkzeug's sentences are English, without a hint",
}
"""Functions with a pair whose texts are computed, equal or empty, each with the reason."""
PARAMETERS = (("en", "zh"), ("english", "chinese"))
CHINESE = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;!?](?![\w/.-])|[\u4e00-\u9fff]:\s")


@dataclass(frozen=True)
class Text:
    """A text with its fields as {}, and the source of each field."""

    words: str
    fields: tuple[str, ...] = ()

    def __add__(self, other):
        return Text(self.words + other.words, self.fields + other.fields)


@dataclass(frozen=True)
class Pair:
    """Both texts of a call; None for an expression that is not a text."""

    file: str
    line: int
    function: str
    english: Text | None
    chinese: Text | None

    @property
    def place(self):
        return f"{self.file} {self.function}"

    def __str__(self):
        texts = (text and text.words for text in (self.english, self.chinese))
        return f"{self.file}:{self.line} in {self.function}: {', '.join(map(repr, texts))}"


def read_pairs(sources):
    """Every pair of the modules (source by file name), also those of calls by a keyword."""
    trees = {file: ast.parse(source) for file, source in sources.items()}
    positions = defaultdict(dict, {"": {"Localized": (0, PARAMETERS[0])}})
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (found := pair_parameters(node)):
                # A private function is called in its own module only.
                positions[file if node.name.startswith("_") else ""][node.name] = found
    for file, tree in trees.items():
        constants = module_constants(tree)
        for function, call in calls(tree):
            name = ast.unparse(call.func).rpartition(".")[2]
            found = positions[file].get(name) or positions[""].get(name)
            if found and not passes_on(function, call):
                english, chinese = (as_text(node, constants) for node in arguments(call, *found))
                where = function.name if function else ""
                yield Pair(file, call.lineno, where, english, chinese)


def pair_parameters(function):
    """The position and the names of the parameters that take a pair."""
    names = [parameter.arg for parameter in function.args.args]
    for pair in PARAMETERS:
        if set(pair) <= set(names):
            return names.index(pair[0]), pair
    return None


def calls(node, function=None):
    """Every call, with the innermost function around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield function, child
        yield from calls(child, child if isinstance(child, ast.FunctionDef) else function)


def passes_on(function, call):
    """Whether the function hands its own pair on; the pair stands where the function is called."""
    names = {ast.unparse(node) for node in call.args}
    return function is not None and any(
        pair_parameters(function) and set(pair) & names for pair in PARAMETERS
    )


def arguments(call, position, names):
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    starred = any(isinstance(node, ast.Starred) for node in call.args)
    positional = [] if starred else call.args[position : position + 2]
    missing = [keywords.get(name) for name in names[len(positional) :]]
    return [*positional, *missing]


def module_constants(tree):
    """Every text that the module assigns to a name, once."""
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            constants[ast.unparse(target)] = as_text(node.value, constants)
    return constants


def as_text(node, constants):
    """The text of an expression; None if it is not made of literals and constants."""
    match node:
        case ast.Constant(value=str(value)):
            return Text(value)
        case ast.Name(id=name):
            return constants.get(name)
        case ast.JoinedStr(values=parts):
            return sum((as_text(part, constants) for part in parts), Text(""))
        case ast.FormattedValue(value=value):
            return as_text(value, constants) or Text("{}", (ast.unparse(value),))
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            both = as_text(left, constants), as_text(right, constants)
            return None if None in both else both[0] + both[1]
        case ast.Call(func=ast.Attribute(value=value, attr="strip" | "rstrip")):
            return as_text(value, constants)
    return None


def modules():
    return {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for folder in ("relay", "handlers")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.is_relative_to(ROOT / "relay/handlers")
    }


def is_computed(pair):
    return pair.english is None or pair.chinese is None


def is_empty(pair):
    return not (pair.english.words.strip() and pair.chinese.words.strip())


def is_same(pair):
    return pair.english == pair.chinese and pair.english.words not in SAME


ALL = list(read_pairs(modules()))
READ = [pair for pair in ALL if not is_computed(pair)]


def test_there_are_pairs_to_check():
    assert len(READ) > 800


def test_every_pair_can_be_read():
    wrong = [str(pair) for pair in ALL if is_computed(pair) and pair.place not in COMPUTED]
    assert not wrong, "a computed text needs a reason in COMPUTED:\n" + "\n".join(wrong)


def test_no_text_is_empty():
    wrong = [str(pair) for pair in READ if is_empty(pair) and pair.place not in COMPUTED]
    assert not wrong, "\n".join(wrong)


def test_the_languages_differ():
    wrong = [str(pair) for pair in READ if is_same(pair) and not is_empty(pair)]
    assert not wrong, "\n".join(wrong)


def test_a_chinese_text_is_chinese_and_an_english_text_is_not():
    wrong = [
        str(pair)
        for pair in READ
        if CHINESE.search(pair.english.words)
        or (
            re.search(r"[A-Za-z]{2,} [a-z]{2,}", pair.english.words)
            and not CHINESE.search(pair.chinese.words)
        )
    ]
    assert not wrong, "\n".join(wrong)


def test_chinese_texts_have_full_width_punctuation():
    wrong = [str(pair) for pair in READ if HALF_WIDTH.search(pair.chinese.words)]
    assert not wrong, "\n".join(wrong)


RETRY_PROMISE = (
    re.compile(r"Relay (retries|keeps|waits|tries|checks|posts)"),
    re.compile(r"Relay (稍后)?会"),
)


def test_no_hint_of_a_final_failure_promises_a_retry():
    promising = [
        pair
        for pair in READ
        if all(
            pattern.search(text.words)
            for pattern, text in zip(RETRY_PROMISE, (pair.english, pair.chinese), strict=True)
        )
    ]
    assert len(promising) > 10
    for pair in promising:
        final = final_hint(Localized(pair.english.words, pair.chinese.words))
        assert not RETRY_PROMISE[0].search(final.en), str(pair)
        assert not RETRY_PROMISE[1].search(final.zh), str(pair)


@pytest.mark.parametrize("text", sorted(SAME))
def test_every_equal_text_is_needed(text):
    assert any(pair.english == pair.chinese == Text(text) for pair in READ)


def test_every_computed_text_is_needed():
    assert set(COMPUTED) <= {pair.place for pair in ALL if is_computed(pair) or is_empty(pair)}


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        ('"", ""', is_empty),
        ('"name", " "', is_empty),
        ('EMPTY, "名称"', is_empty),
        ('f"{EMPTY}", f"{count} 项"', is_empty),
        ('"name", "name"', is_same),
        ("NAME, NAME", is_same),
        ('NAME, "name"', is_same),
        ('f"{NAME}", f"{NAME}"', is_same),
        ('f"{count} files", f"{count} files"', is_same),
        ('f"{count}", f"{count}"', is_same),
        ('NAME + f" {count}", f"name {count}"', is_same),
        ("count, count", is_computed),
        ('str(count), "名称"', is_computed),
        ('"name"', is_computed),
        ("*both", is_computed),
        ("**stored", is_computed),
    ],
)
@pytest.mark.parametrize("call", ["Localized(", "model.Localized(", "_error(", "explain(count, "])
def test_a_wrong_pair_is_found(call, arguments, finding):
    source = 'EMPTY = ""\nNAME: str = "name"\ndef _error(en, zh):\n    Localized(en, zh)\n'
    source += f"def use(count):\n    return {call}{arguments})\n"
    other = "def explain(code, english, chinese):\n    return Localized(english, chinese)\n"
    (pair,) = read_pairs({"one.py": source, "other.py": other})
    assert pair.place == "one.py use"
    assert finding(pair)


def test_fields_that_differ_make_the_texts_differ():
    source = 'Localized(zh=f"{product.zh}", en=f"{product.en}")'
    (pair,) = read_pairs({"one.py": source})
    assert pair.chinese == Text("{}", ("product.zh",))
    assert not is_same(pair)
    assert not is_empty(pair)
