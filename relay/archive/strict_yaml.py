"""Parses untrusted YAML into dicts, lists and text: limited in size, without aliases and tags.

A scalar is its text as written: `0123456701`, `12:30:45`, `1.10`, `on` and `=` are not converted.
Only the reader of a value knows its type; `as_integer` and `as_boolean` convert where it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from relay.archive.findings import printable
from relay.errors import PermanentFailure
from relay.model import Localized

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml: slower, with the same results
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_DIGITS = 20

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(rf"[-+]?[0-9]{{1,{MAX_DIGITS}}}")
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
_PERCENT_AT_LINE_START = re.compile("(?:^|[\n\r\x85\u2028\u2029])\ufeff*%")
_DEPTH = {
    **dict.fromkeys((yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken), 1),
    **dict.fromkeys((yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken), 1),
    **dict.fromkeys((yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken), -1),
}
"""How a token changes the depth."""

_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_HINT = Localized(
    "Use plain YAML as in the original export.", "请使用普通写法，与导出的 YAML 保持一致。"
)


class NullText(str):
    """The text of an unquoted scalar that YAML reads as null: empty, `~` or `null`."""

    __slots__ = ()


def load(text: str) -> Any:
    """Return the single document as dicts with text keys, lists and text; None if it is empty.

    Raises only PermanentFailure `export.yaml_alias`, `_tag`, `_merge`, `_directive`, `_deep`,
    `_long` or `_syntax`.
    """
    try:
        _refuse_directives(text)
        return _Reader(yaml.parse(text, _SafeLoader)).read_document()
    except PermanentFailure:
        raise
    except Exception as error:
        raise _parser_error(error) from error


def as_integer(value: object) -> int | None:
    """Return a decimal number, quoted or not, of at most MAX_DIGITS digits; else None."""
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def as_boolean(value: object) -> bool | None:
    """Return the value of true, yes, on, false, no or off, quoted or not; else None."""
    return _BOOLEANS.get(value.lower()) if isinstance(value, str) else None


def is_text(value: object) -> bool:
    """Whether a value is a text without NUL and half characters."""
    return isinstance(value, str) and not _NOT_TEXT.search(value)


def _refuse_directives(text: str) -> None:
    """Raise PermanentFailure for a directive: libyaml compares every %TAG with all others.

    A quoted text may have lines that start with % as well, which only the scanner can tell.
    """
    if not _PERCENT_AT_LINE_START.search(text):
        return
    depth = 0
    for token in yaml.scan(text, _SafeLoader):
        if type(token) is yaml.DirectiveToken:
            raise _error("directive", "uses directives (%)", "使用了指令（%）")
        depth += _DEPTH.get(type(token), 0)
        if depth > MAX_DEPTH:  # the reader stops here
            return


class _Reader:
    """Builds the document from the events of the parser, which resolves no types."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._left = MAX_NODES

    def read_document(self) -> Any:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        document = self._node(self._next(), 1)
        self._next()
        if not isinstance(event := self._next(), yaml.StreamEndEvent):
            raise _syntax("there is a second document", "存在第二个文档", event.start_mark)
        return document

    def _next(self) -> yaml.Event:
        self._left -= 1
        if self._left < 0:
            raise _error("long", f"has over {MAX_NODES} values", f"超过 {MAX_NODES} 个值")
        return next(self._events)

    def _node(self, event: yaml.Event, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _error("alias", "uses anchors or aliases (& and *)", "使用了锚点或别名（& 和 *）")
        if getattr(event, "tag", None):
            raise _error("tag", "uses tags (!)", "使用了标签（!）")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if depth > MAX_DEPTH:
            raise _error("deep", f"is nested deeper than {MAX_DEPTH}", f"嵌套超过 {MAX_DEPTH} 层")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(depth)
        return self._sequence(depth)

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, str):
                raise _syntax("a key is not text", "存在非文本的键", event.start_mark)
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                raise _error("merge", "uses merge keys (<<)", "使用了合并键（<<）")
            if key in fields:
                shown = printable(key)
                mark = event.start_mark
                raise _syntax(f"the key {shown} is duplicated", f"键 {shown} 重复", mark)
            fields[str(key)] = self._node(self._next(), depth + 1)
        return fields


def _scalar(event: yaml.ScalarEvent) -> str:
    text: str = event.value
    if not is_text(text):
        raise _syntax(
            "a value contains a character that is not text", "值中含有非文本字符", event.start_mark
        )
    is_plain = event.implicit[0]
    return NullText(text) if is_plain and text in _NULL else text


def _parser_error(error: Exception) -> PermanentFailure:
    problem = printable(getattr(error, "problem", None) or str(error) or type(error).__name__)
    mark = getattr(error, "problem_mark", None)
    return _syntax(f"syntax error: {problem}", f"语法错误（解析器提示：{problem}）", mark)


def _syntax(en: str, zh: str, mark: Any) -> PermanentFailure:
    if mark:
        en, zh = f"line {mark.line + 1}: {en}", f"第 {mark.line + 1} 行：{zh}"
    return _error("syntax", f"cannot be read: {en}", f"无法解析：{zh}")


def _error(kind: str, en: str, zh: str) -> PermanentFailure:
    return PermanentFailure(
        f"export.yaml_{kind}", Localized(f"The YAML {en}", f"YAML 文件{zh}"), _HINT
    )
