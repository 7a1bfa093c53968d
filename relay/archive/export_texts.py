"""What can be wrong with an export's shape, in words."""

from __future__ import annotations

from relay.archive.texts import AGAIN, FindingText
from relay.model import Localized

_YAML = Localized(
    "Take the YAML that the export wrote; only values may be changed in it.",
    "请使用导出时生成的 YAML，只修改其中的值。",
)
_NOTED = Localized(
    "The lists known here may be older than the cloud's, so this is only noted.",
    "此处的列表可能比云端旧，因此仅作提示。",
)


def _error(en: str, zh: str, hint: Localized = _YAML) -> FindingText:
    return FindingText("error", Localized(en, zh), hint)


def _note(en: str, zh: str) -> FindingText:
    return FindingText("note", Localized(en, zh), _NOTED)


SAYINGS: dict[str, FindingText] = {
    "export.no_yaml": _error(
        "The archive has no YAML, so it is not a function's export",
        "压缩包中没有 YAML 文件，因此不是导出的函数包",
        AGAIN,
    ),
    "export.many_yaml": _error(
        "The archive has {count:,} YAML files; an export has exactly one ({names})",
        "压缩包中有 {count:,} 个 YAML 文件，导出包应仅有一个（{names}）",
        AGAIN,
    ),
    "export.yaml_size": _error(
        "{name} has {size:,} bytes; at most {limit:,} are read",
        "{name} 为 {size:,} 字节，上限为 {limit:,} 字节",
    ),
    "export.yaml_encoding": _error("{name} is not UTF-8 text", "{name} 不是 UTF-8 文本"),
    "export.template": _error(
        "{name} has no HcCrmTemplateVersion at its top", "{name} 顶层缺少 HcCrmTemplateVersion"
    ),
    "export.template_version": FindingText(
        "warning",
        Localized(
            "{name} says HcCrmTemplateVersion {version}; v1 is the one known",
            "{name} 的 HcCrmTemplateVersion 为 {version}，已知版本为 v1",
        ),
        Localized(
            "The cloud may know more versions, so it is tried all the same.",
            "云端可能支持更多版本，因此仍会尝试导入。",
        ),
    ),
    "export.resources": _error(
        "{name} must have exactly one function under Resources; it has {count:,}",
        "{name} 的 Resources 下应恰好有一个函数，实际为 {count:,} 个",
    ),
    "export.function_name": _error(
        "The function's name under Resources in {name} is empty",
        "{name} 的 Resources 下的函数名为空",
    ),
    "export.type": _error(
        "{function} in {name} is not of Type HC::Serverless::Function",
        "{name} 中 {function} 的 Type 不是 HC::Serverless::Function",
    ),
    "export.properties": _error(
        "{function} in {name} has no Properties", "{name} 中 {function} 缺少 Properties"
    ),
    "export.code_name": _error(
        "{function} in {name} has no CodeFileName", "{name} 中 {function} 缺少 CodeFileName"
    ),
    "export.code_missing": _error(
        "CodeFileName says {file}, which is not in the archive",
        "CodeFileName 为 {file}，但压缩包中没有该文件",
        AGAIN,
    ),
    "export.runtime": _note(
        "The runtime {value} is not known here", "运行时 {value} 未在已知列表中"
    ),
    "export.memory": _note(
        "MemorySize {value} is none of the documented sizes",
        "MemorySize {value} 不在文档所列的规格中",
    ),
    "export.timeout": _note(
        "Timeout {value} is outside of 3 to 259200 seconds", "Timeout {value} 超出 3 至 259200 秒"
    ),
    "export.handler": _note(
        "Handler {value} does not look like file.function (3 to 128 characters)",
        "Handler {value} 不符合“文件名.函数名”格式（3 至 128 个字符）",
    ),
}
