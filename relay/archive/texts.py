"""The texts of all findings about archives and exports: level, message and hint for each code.

`{name}` is the entry; the code that adds the finding supplies the other fields. Where the choice
between error and warning is debatable, the hint gives the reason.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from relay.model import Localized

Level = Literal["error", "warning", "note"]


class FindingText(NamedTuple):
    """The level and texts of a code."""

    level: Level
    message: Localized
    hint: Localized


_EXPORT_AGAIN = Localized(
    "Export the function again and upload that file unchanged.",
    "请重新导出该函数，并原样上传导出的文件。",
)
_UPLOAD_AGAIN = Localized(
    "Compare the sizes of the object and the file, then upload it again.",
    "请核对对象与本地文件的大小是否一致，然后重新上传。",
)
_USE_STANDARD_TOOL = Localized(
    "Different programs would see different files. Recreate the zip with a standard tool.",
    "不同程序会看到不同的文件。请用常规工具重新打包。",
)
_RENAME_ENTRY = Localized(
    "The entry could be extracted outside its folder. Rename it and recreate the zip.",
    "该路径可能写到目标目录之外。请重命名该条目后重新打包。",
)
_USE_PLAIN_FILES = Localized(
    "Recreate the zip with regular files only, stored or deflated.",
    "请仅用普通文件、以存储或 Deflate 方式重新打包。",
)
_REDUCE_SIZE = Localized(
    "Reduce the package size, or split the function.", "请缩小代码包，或拆分函数。"
)


_USE_EXPORTED_YAML = Localized(
    "Use the YAML from the export and change only values.",
    "请使用导出时生成的 YAML，只修改其中的值。",
)
_INFORMATION = Localized(
    "This is only a note: the list in Relay may be older than FunctionGraph.",
    "此处的列表可能比云端旧，因此仅作提示。",
)


def _error(en: str, zh: str, hint: Localized = _USE_EXPORTED_YAML) -> FindingText:
    return FindingText("error", Localized(en, zh), hint)


def _warning(en: str, zh: str, hint: Localized) -> FindingText:
    return FindingText("warning", Localized(en, zh), hint)


def _note(en: str, zh: str) -> FindingText:
    return FindingText("note", Localized(en, zh), _INFORMATION)


TEXTS: dict[str, FindingText] = {
    # The file as a whole
    "archive.empty_object": _error(
        "The object is empty (0 bytes)", "对象为空（0 字节）", _UPLOAD_AGAIN
    ),
    "archive.not_a_zip": _error(
        "This is not a zip archive; it looks like {kind}",
        "这不是 zip 文件，看起来是{kind}",
        _EXPORT_AGAIN,
    ),
    "archive.truncated": _error(
        "The end of the archive is missing: the upload was probably interrupted",
        "压缩包的结尾缺失：上传可能中断",
        _UPLOAD_AGAIN,
    ),
    "archive.multi_disk": _error(
        "The archive is split over several files", "这是分卷压缩包", _USE_PLAIN_FILES
    ),
    "archive.empty": _error("The archive contains no files", "压缩包内没有任何文件", _EXPORT_AGAIN),
    "archive.too_large": _warning(
        "The archive has {size:,} bytes; the documented limit of the import API is {limit:,}",
        "压缩包为 {size:,} 字节，导入接口文档规定的上限为 {limit:,} 字节",
        Localized(
            "The target's max_size decides whether the import is attempted.",
            "是否尝试导入由目标的 max_size 决定。",
        ),
    ),
    "archive.large": _warning(
        "The archive has {size:,} bytes, more than the limit for an exported function ({limit:,})",
        "压缩包为 {size:,} 字节，超过导出函数的上限（{limit:,}）",
        Localized(
            "The import API has a higher limit, so the import is still attempted.",
            "导入接口的上限更高，因此仍会尝试导入。",
        ),
    ),
    # End records and directory
    "archive.prefix": _error(
        "{count:,} bytes precede the archive: other data was prepended, or this is a part of a "
        "larger archive",
        "压缩包之前有 {count:,} 字节多余内容：前面拼接了其他数据，或这只是更大压缩包的一段",
        _EXPORT_AGAIN,
    ),
    "archive.trailing": _error(
        "{count:,} bytes follow the end of the archive",
        "压缩包结尾之后还有 {count:,} 字节多余内容",
        _EXPORT_AGAIN,
    ),
    "archive.two_ends": _error(
        "The archive has two end records", "压缩包含有两个结尾记录", _USE_STANDARD_TOOL
    ),
    "archive.zip64": _error(
        "The ZIP64 records contradict the other records: {detail}",
        "ZIP64 记录与其他记录不一致：{detail}",
        _EXPORT_AGAIN,
    ),
    "archive.directory": _error(
        "The directory of the archive is damaged: {detail}",
        "压缩包的目录已损坏：{detail}",
        _UPLOAD_AGAIN,
    ),
    "archive.directory_size": _error(
        "The directory of the archive has {size:,} bytes; the limit is {limit:,}",
        "压缩包的目录为 {size:,} 字节，上限为 {limit:,} 字节",
        _REDUCE_SIZE,
    ),
    "archive.too_many": _error(
        "The archive has {count:,} entries; the limit is {limit:,}",
        "压缩包含 {count:,} 个条目，上限为 {limit:,} 个",
        _REDUCE_SIZE,
    ),
    "archive.overlap": _error(
        "{name} overlaps with the data that follows it",
        "{name} 与其后的内容重叠",
        _USE_STANDARD_TOOL,
    ),
    "archive.gap": _error(
        "{count:,} bytes belong to no file of the archive (before {before})",
        "有 {count:,} 字节不属于任何文件（位于 {before} 之前）",
        Localized(
            "They may hide files that only some programs see. Recreate the zip.",
            "其中可能藏有仅部分程序可见的文件。请重新打包。",
        ),
    ),
    "archive.version": _error(
        "{name} requires zip version {version}, which does not exist",
        "{name} 要求的 zip 版本 {version} 并不存在",
        _UPLOAD_AGAIN,
    ),
    "archive.extra": _error(
        "The extra fields of {name} are damaged", "{name} 的扩展字段已损坏", _UPLOAD_AGAIN
    ),
    "archive.headers_differ": _error(
        "The two headers of {name} differ in: {fields}",
        "{name} 的两个头部不一致：{fields}",
        _USE_STANDARD_TOOL,
    ),
    "archive.local_missing": _error(
        "{name} is not at the position given in the directory",
        "{name} 不在目录所指的位置",
        _UPLOAD_AGAIN,
    ),
    "archive.descriptor": _error(
        "The data descriptor of {name} is inconsistent", "{name} 的数据描述符不一致", _UPLOAD_AGAIN
    ),
    # Names
    "archive.name_empty": _error("An entry has no name", "有条目没有名称", _USE_PLAIN_FILES),
    "archive.name_long": _error(
        "The name {name} is too long", "名称 {name} 过长", _USE_PLAIN_FILES
    ),
    "archive.name_absolute": _error(
        "{name} is an absolute path", "{name} 是绝对路径", _RENAME_ENTRY
    ),
    "archive.name_parent": _error(
        'The path {name} leaves its folder with ".."',
        '路径 {name} 通过 ".." 跳出目录',
        _RENAME_ENTRY,
    ),
    "archive.name_drive": _error(
        "{name} contains a drive letter", "{name} 含有盘符", _RENAME_ENTRY
    ),
    "archive.name_backslash": _error(
        "{name} has a backslash, which separates folders only on some systems",
        "{name} 含有反斜杠，仅在部分系统上表示目录",
        _RENAME_ENTRY,
    ),
    "archive.name_control": _error(
        "The name {name} has control characters", "名称 {name} 含有控制字符", _RENAME_ENTRY
    ),
    "archive.name_direction": _error(
        "The name {name} has invisible characters and may look like another name",
        "名称 {name} 含有不可见字符，可能被误认为其他名称",
        _RENAME_ENTRY,
    ),
    "archive.name_encoding": _error(
        "The name {name} is marked as UTF-8 but is not valid UTF-8",
        "名称 {name} 标记为 UTF-8，但不是有效的 UTF-8",
        _USE_PLAIN_FILES,
    ),
    "archive.name_unmarked": _warning(
        "The name {name} has special characters in an undeclared encoding",
        "名称 {name} 含有特殊字符，但未注明编码",
        Localized(
            "The cloud may show other characters; the content of the file is not affected.",
            "在云端可能显示为其他字符，文件内容不受影响。",
        ),
    ),
    "archive.two_names": _error(
        "{name} has a second, different name", "{name} 另有不同的名称", _USE_STANDARD_TOOL
    ),
    "archive.duplicate": _error("{name} occurs twice", "{name} 重复出现", _USE_STANDARD_TOOL),
    "archive.collision": _error(
        "{name} and {other} are different spellings of the same path",
        "{name} 与 {other} 是同一路径的不同写法",
        _USE_STANDARD_TOOL,
    ),
    "archive.case": _warning(
        "{name} and {other} differ only in case",
        "{name} 与 {other} 仅大小写不同",
        Localized(
            "Functions run on Linux, which keeps both. Windows and macOS keep only a single file.",
            "函数运行于 Linux，两者都会保留；Windows 和 macOS 只会保留一个。",
        ),
    ),
    "archive.file_and_folder": _error(
        "{name} is both a file and a folder", "{name} 既是文件又是目录", _USE_STANDARD_TOOL
    ),
    "archive.folder_content": _error(
        "The folder {name} has content", "目录 {name} 带有内容", _USE_PLAIN_FILES
    ),
    "archive.link": _error("{name} is a link", "{name} 是链接", _USE_PLAIN_FILES),
    "archive.device": _error(
        "{name} is a device or other special file", "{name} 是设备或其他特殊文件", _USE_PLAIN_FILES
    ),
    # Compression and content
    "archive.encrypted": _error(
        "{name} is encrypted",
        "{name} 已加密",
        Localized("Recreate the zip without a password.", "请不设密码重新打包。"),
    ),
    "archive.method": _error(
        "{name} uses {method}; only stored and deflated entries are supported",
        "{name} 使用 {method} 压缩；仅支持存储或 Deflate",
        _USE_PLAIN_FILES,
    ),
    "archive.sizes": _error(
        "{name} cannot unpack from {compressed:,} bytes to the declared {size:,} bytes",
        "{name} 声称由 {compressed:,} 字节解压为 {size:,} 字节，这不可能",
        _UPLOAD_AGAIN,
    ),
    "archive.bomb_ratio": _error(
        "{name} unpacks to {ratio:,} times the compressed size",
        "{name} 解压后膨胀 {ratio:,} 倍",
        _REDUCE_SIZE,
    ),
    "archive.bomb_sum": _error(
        "The unpacked archive has {size:,} bytes; the limit is {limit:,}",
        "压缩包解压后为 {size:,} 字节，上限为 {limit:,} 字节",
        _REDUCE_SIZE,
    ),
    "archive.crc": _error("The content of {name} is damaged", "{name} 的内容已损坏", _UPLOAD_AGAIN),
    "archive.inflate": _error(
        "{name} cannot be unpacked: the compressed data is damaged",
        "{name} 无法解压：压缩数据已损坏",
        _UPLOAD_AGAIN,
    ),
    "archive.size_differs": _error(
        "{name} does not unpack to the declared {size:,} bytes",
        "{name} 解压后的大小与其声明的 {size:,} 字节不符",
        _USE_STANDARD_TOOL,
    ),
    # The shape of the export
    "export.no_yaml": _error(
        "The archive has no YAML file, so it is not an exported function",
        "压缩包中没有 YAML 文件，因此不是导出的函数包",
        _EXPORT_AGAIN,
    ),
    "export.many_yaml": _error(
        "The archive has {count:,} YAML files; an export has exactly one ({names})",
        "压缩包中有 {count:,} 个 YAML 文件，导出包应仅有一个（{names}）",
        _EXPORT_AGAIN,
    ),
    "export.yaml_size": _error(
        "{name} has {size:,} bytes; the limit is {limit:,}",
        "{name} 为 {size:,} 字节，上限为 {limit:,} 字节",
    ),
    "export.yaml_encoding": _error("{name} is not UTF-8 text", "{name} 不是 UTF-8 文本"),
    "export.template": _error(
        "{name} has no top-level key HcCrmTemplateVersion", "{name} 顶层缺少 HcCrmTemplateVersion"
    ),
    "export.template_version": _warning(
        "{name} has HcCrmTemplateVersion {version}; the known version is v1",
        "{name} 的 HcCrmTemplateVersion 为 {version}，已知版本为 v1",
        Localized(
            "FunctionGraph may support newer versions, so the import is still attempted.",
            "云端可能支持更多版本，因此仍会尝试导入。",
        ),
    ),
    "export.resources": _error(
        "{name} must have exactly one function under Resources; it has {count:,}",
        "{name} 的 Resources 下应恰好有一个函数，实际为 {count:,} 个",
    ),
    "export.function_name": _error(
        "The function name under Resources in {name} is empty",
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
        "CodeFileName is {file}, which is not in the archive",
        "CodeFileName 为 {file}，但压缩包中没有该文件",
        _EXPORT_AGAIN,
    ),
    "export.runtime": _note(
        "The runtime {value} is not a known runtime", "运行时 {value} 未在已知列表中"
    ),
    "export.memory": _note(
        "MemorySize {value} is not a documented size",
        "MemorySize {value} 不在文档所列的规格中",
    ),
    "export.timeout": _note(
        "Timeout {value} is outside the range of 3 to 259200 seconds",
        "Timeout {value} 超出 3 至 259200 秒",
    ),
    "export.handler": _note(
        "Handler {value} does not have the form file.function (3 to 128 characters)",
        "Handler {value} 不符合“文件名.函数名”格式（3 至 128 个字符）",
    ),
}
"""All findings by code."""
