"""What can be wrong with an archive, in words: one line of the catalogue for each code.

`{name}` is the entry; other fields are given where the finding is made. Where the choice between
error and warning is a judgement, the hint says why.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from relay.model import Localized

Level = Literal["error", "warning", "note"]


class FindingText(NamedTuple):
    """How one code is told."""

    level: Level
    message: Localized
    hint: Localized


AGAIN = Localized(
    "Export the function again and upload that file unchanged.",
    "请重新导出该函数，并原样上传导出的文件。",
)
UPLOAD = Localized(
    "Compare the object's size with the file's, and upload it again.",
    "请核对对象与本地文件的大小是否一致，然后重新上传。",
)
HONEST = Localized(
    "Programs would see different files in it. Make the zip anew with an ordinary tool.",
    "不同程序会看到不同的文件。请用常规工具重新打包。",
)
RENAME = Localized(
    "Rename the entry and make the zip anew; it could land outside of its folder.",
    "该路径可能写到目标目录之外。请重命名该条目后重新打包。",
)
PLAIN = Localized(
    "Make the zip anew with ordinary files, stored or deflated.",
    "请仅用普通文件、以存储或 Deflate 方式重新打包。",
)
LIMITS = Localized("Make the package smaller, or split the function.", "请缩小代码包，或拆分函数。")


def _error(en: str, zh: str, hint: Localized) -> FindingText:
    return FindingText("error", Localized(en, zh), hint)


def _warning(en: str, zh: str, hint: Localized) -> FindingText:
    return FindingText("warning", Localized(en, zh), hint)


SAYINGS: dict[str, FindingText] = {
    # Is it a whole zip?
    "archive.empty_object": _error("The object is empty (0 bytes)", "对象为空（0 字节）", UPLOAD),
    "archive.not_a_zip": _error(
        "This is not a zip archive: it looks like {kind}", "这不是 zip 文件，看起来是{kind}", AGAIN
    ),
    "archive.truncated": _error(
        "The end of the archive is missing: the upload was cut",
        "压缩包的结尾缺失：上传可能中途断开",
        UPLOAD,
    ),
    "archive.multi_disk": _error(
        "The archive is split over several files", "这是分卷压缩包", PLAIN
    ),
    "archive.empty": _error("The archive contains no files", "压缩包内没有任何文件", AGAIN),
    "archive.too_large": _error(
        "The archive has {size:,} bytes; at most {limit:,} are allowed",
        "压缩包为 {size:,} 字节，上限为 {limit:,} 字节",
        LIMITS,
    ),
    "archive.large": _warning(
        "The archive has {size:,} bytes, more than an exported function can have ({limit:,})",
        "压缩包为 {size:,} 字节，超过导出函数的上限（{limit:,}）",
        Localized(
            "The import API names a higher limit, so it is tried all the same.",
            "导入接口给出的上限更高，因此仍会尝试导入。",
        ),
    ),
    # Its ends and its directory
    "archive.prefix": _error(
        "{count:,} bytes lie before the archive: something was put in front, or it is a piece of "
        "a longer archive",
        "压缩包之前有 {count:,} 字节多余内容：前面拼接了其他数据，或这只是更大压缩包的一段",
        AGAIN,
    ),
    "archive.trailing": _error(
        "{count:,} bytes follow the end of the archive",
        "压缩包结尾之后还有 {count:,} 字节多余内容",
        AGAIN,
    ),
    "archive.two_ends": _error("The archive has two ends", "压缩包含有两个结尾记录", HONEST),
    "archive.zip64": _error(
        "The ZIP64 records do not fit the others: {detail}",
        "ZIP64 记录与其他记录不一致：{detail}",
        AGAIN,
    ),
    "archive.directory": _error(
        "The archive's directory is damaged: {detail}", "压缩包的目录已损坏：{detail}", UPLOAD
    ),
    "archive.directory_size": _error(
        "The archive's directory has {size:,} bytes; at most {limit:,} are read",
        "压缩包的目录为 {size:,} 字节，上限为 {limit:,} 字节",
        LIMITS,
    ),
    "archive.too_many": _error(
        "The archive lists {count:,} entries; at most {limit:,} are allowed",
        "压缩包含 {count:,} 个条目，上限为 {limit:,} 个",
        LIMITS,
    ),
    "archive.overlap": _error(
        "{name} shares bytes with what follows it", "{name} 与其后的内容重叠", HONEST
    ),
    "archive.gap": _error(
        "{count:,} bytes belong to no file of the archive (before {before})",
        "有 {count:,} 字节不属于任何文件（位于 {before} 之前）",
        Localized(
            "They may hide files that only some programs see, so they are refused. Make it anew.",
            "其中可能藏有仅部分程序可见的文件，因此拒绝。请重新打包。",
        ),
    ),
    "archive.version": _error(
        "{name} asks for zip version {version}, which does not exist",
        "{name} 要求的 zip 版本 {version} 并不存在",
        UPLOAD,
    ),
    "archive.extra": _error(
        "The extra fields of {name} are damaged", "{name} 的扩展字段已损坏", UPLOAD
    ),
    "archive.headers_differ": _error(
        "{name} is described twice, and the two differ in: {fields}",
        "{name} 的两处描述不一致：{fields}",
        HONEST,
    ),
    "archive.local_missing": _error(
        "{name} is not where the directory says", "{name} 不在目录所指的位置", UPLOAD
    ),
    "archive.descriptor": _error(
        "The closing record of {name} does not fit", "{name} 的结尾描述记录不一致", UPLOAD
    ),
    # Names
    "archive.name_empty": _error("An entry has no name", "有条目没有名称", PLAIN),
    "archive.name_long": _error("The name {name} is too long", "名称 {name} 过长", PLAIN),
    "archive.name_absolute": _error("{name} is an absolute path", "{name} 是绝对路径", RENAME),
    "archive.name_parent": _error(
        'The path {name} leads out of its folder by ".."', '路径 {name} 通过 ".." 跳出目录', RENAME
    ),
    "archive.name_drive": _error("{name} names a drive", "{name} 含有盘符", RENAME),
    "archive.name_backslash": _error(
        "{name} has a backslash, which is a folder on some systems only",
        "{name} 含有反斜杠，仅在部分系统上表示目录",
        RENAME,
    ),
    "archive.name_control": _error(
        "The name {name} has control characters", "名称 {name} 含有控制字符", RENAME
    ),
    "archive.name_direction": _error(
        "The name {name} has invisible characters that make it look like another",
        "名称 {name} 含有不可见字符，看起来会像另一个名称",
        RENAME,
    ),
    "archive.name_encoding": _error(
        "The name {name} is marked as UTF-8 and is not", "名称 {name} 标记为 UTF-8，但并不是", PLAIN
    ),
    "archive.name_unmarked": _warning(
        "The name {name} has special characters and does not say in which encoding",
        "名称 {name} 含有特殊字符，但未注明编码",
        Localized(
            "It may show as other characters in the cloud; the bytes inside are not touched.",
            "在云端可能显示为其他字符，文件内容不受影响。",
        ),
    ),
    "archive.two_names": _error("{name} has a second, other name", "{name} 另有不同的名称", HONEST),
    "archive.duplicate": _error("{name} is there twice", "{name} 重复出现", HONEST),
    "archive.collision": _error(
        "{name} and {other} are the same path, written differently",
        "{name} 与 {other} 是同一路径的不同写法",
        HONEST,
    ),
    "archive.case": _warning(
        "{name} and {other} differ in upper and lower case only",
        "{name} 与 {other} 仅大小写不同",
        Localized(
            "Linux keeps both, and functions run there; Windows and macOS would keep one.",
            "函数运行于 Linux，两者都会保留；在 Windows 和 macOS 上只会保留一个。",
        ),
    ),
    "archive.file_and_folder": _error(
        "{name} is a file and a folder at once", "{name} 既是文件又是目录", HONEST
    ),
    "archive.folder_content": _error(
        "The folder {name} has content", "目录 {name} 带有内容", PLAIN
    ),
    "archive.link": _error("{name} is a link", "{name} 是链接", PLAIN),
    "archive.device": _error(
        "{name} is a device or another special file", "{name} 是设备或其他特殊文件", PLAIN
    ),
    # What is packed
    "archive.encrypted": _error(
        "{name} is encrypted",
        "{name} 已加密",
        Localized("Make the zip without a password.", "请不设密码重新打包。"),
    ),
    "archive.method": _error(
        "{name} is packed by {method}; only stored and deflated are read everywhere",
        "{name} 使用 {method} 压缩；仅支持存储或 Deflate",
        PLAIN,
    ),
    "archive.sizes": _error(
        "{name} cannot unpack to the {size:,} bytes it claims from {compressed:,}",
        "{name} 声称由 {compressed:,} 字节解压为 {size:,} 字节，这不可能",
        UPLOAD,
    ),
    "archive.bomb_ratio": _error(
        "{name} unpacks to {ratio:,} times its size", "{name} 解压后膨胀 {ratio:,} 倍", LIMITS
    ),
    "archive.bomb_sum": _error(
        "Unpacked, the archive has {size:,} bytes; at most {limit:,} are allowed",
        "压缩包解压后为 {size:,} 字节，上限为 {limit:,} 字节",
        LIMITS,
    ),
    "archive.crc": _error("The content of {name} is damaged", "{name} 的内容已损坏", UPLOAD),
    "archive.inflate": _error(
        "{name} cannot be unpacked: its compressed data is damaged",
        "{name} 无法解压：压缩数据已损坏",
        UPLOAD,
    ),
    "archive.size_differs": _error(
        "{name} unpacks to other than the {size:,} bytes it claims",
        "{name} 解压后的大小与其声明的 {size:,} 字节不符",
        HONEST,
    ),
}
