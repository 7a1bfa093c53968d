"""Reads a foreign YAML as plain JSON values, within bounds: no aliases, no tags, no surprises."""

from __future__ import annotations

import math
from typing import Any

import yaml

from relay.archive.findings import shown
from relay.errors import PermanentFailure
from relay.model import Localized

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML built without libyaml: slower, the same values
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

DEEPEST = 32
MOST_NODES = 50_000

_DATE = "tag:yaml.org,2002:timestamp"
_PLAINER = Localized(
    "Write the YAML plainly, as the export wrote it.", "请使用普通写法，与导出的 YAML 保持一致。"
)


class _Loader(_SafeLoader):
    """A safe loader that leaves dates as text and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != _DATE]
    for first, rules in _SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> Any:
    """The one document as dicts with text keys, lists, text, numbers, booleans and None.

    Raises PermanentFailure `export.yaml_alias`, `_tag`, `_deep`, `_long` or `_syntax`; no other.
    """
    try:
        _check_events(text)
        return _plain(yaml.load(text, _Loader))  # noqa: S506 - a SafeLoader, made stricter
    except yaml.MarkedYAMLError as error:
        raise _syntax(_where(error)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax(Localized(shown(str(error)), shown(str(error)))) from None


def _check_events(text: str) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, _SafeLoader)):
        depth += _step(event)
        if depth > DEEPEST:
            raise _refused("deep", f"is nested deeper than {DEEPEST}", f"嵌套超过 {DEEPEST} 层")
        if nodes > MOST_NODES:
            raise _refused("long", f"has over {MOST_NODES} values", f"超过 {MOST_NODES} 个值")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused(
                "alias", "uses anchors or aliases (& and *)", "使用了锚点或别名（& 和 *）"
            )
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise _refused("tag", "uses tags (!)", "使用了标签（!）")


def _step(event: yaml.Event) -> int:
    if isinstance(event, yaml.CollectionStartEvent):
        return 1
    return -1 if isinstance(event, yaml.CollectionEndEvent) else 0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _where(error: yaml.MarkedYAMLError) -> Localized:
    problem = shown(error.problem or "not YAML")
    if error.problem_mark is None:
        return Localized(problem, problem)
    line = error.problem_mark.line + 1
    return Localized(f"line {line}: {problem}", f"第 {line} 行：{problem}")


def _syntax(detail: Localized) -> PermanentFailure:
    return _refused("syntax", f"cannot be read: {detail.en}", f"无法解析：{detail.zh}")


def _refused(kind: str, en: str, zh: str) -> PermanentFailure:
    return PermanentFailure(
        f"export.yaml_{kind}", Localized(f"The YAML {en}", f"YAML 文件{zh}"), _PLAINER
    )
