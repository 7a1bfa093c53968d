"""Parses untrusted YAML into plain JSON values: limited in size, without aliases and tags."""

from __future__ import annotations

import math
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

_DATE = "tag:yaml.org,2002:timestamp"
_HINT = Localized(
    "Use plain YAML as in the original export.", "请使用普通写法，与导出的 YAML 保持一致。"
)


class _Loader(_SafeLoader):
    """A safe loader that keeps dates as text and rejects duplicate keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} is duplicated", problem_mark=key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != _DATE]
    for first, rules in _SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> Any:
    """Return the single document as dicts with text keys, lists, text, numbers, bools and None.

    Raises only PermanentFailure `export.yaml_alias`, `_tag`, `_deep`, `_long` or `_syntax`.
    """
    try:
        _check_events(text)
        return _to_json(yaml.load(text, _Loader))  # noqa: S506 - a stricter SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax_error(error) from None


def _check_events(text: str) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, _SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _error("deep", f"is nested deeper than {MAX_DEPTH}", f"嵌套超过 {MAX_DEPTH} 层")
        if nodes > MAX_NODES:
            raise _error("long", f"has over {MAX_NODES} values", f"超过 {MAX_NODES} 个值")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _error("alias", "uses anchors or aliases (& and *)", "使用了锚点或别名（& 和 *）")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise _error("tag", "uses tags (!)", "使用了标签（!）")


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _to_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_to_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _syntax_error(error: Exception) -> PermanentFailure:
    problem = printable(getattr(error, "problem", None) or str(error))
    en, zh = problem, problem
    if mark := getattr(error, "problem_mark", None):
        en, zh = f"line {mark.line + 1}: {problem}", f"第 {mark.line + 1} 行：{problem}"
    return _error("syntax", f"cannot be read: {en}", f"无法解析：{zh}")


def _error(kind: str, en: str, zh: str) -> PermanentFailure:
    return PermanentFailure(
        f"export.yaml_{kind}", Localized(f"The YAML {en}", f"YAML 文件{zh}"), _HINT
    )
