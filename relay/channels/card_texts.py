"""The words of cards, in both languages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from relay.model import Text

Tone = Literal["good", "bad", "neutral", "warning"]
"""What the colour of a card says; its sign and title say the same in other ways."""

TONES: Mapping[str, Tone] = {
    "succeeded": "good",
    "recovered": "good",
    "failed": "bad",
    "skipped": "neutral",
    "down": "bad",
    "up": "good",
}

SIGNS: Mapping[str, str] = {
    "succeeded": "✅",
    "recovered": "💚",
    "failed": "❌",
    "skipped": "⏭️",
    "down": "🔴",
    "up": "🟢",
    "digest": "🗂️",
}

TITLES: Mapping[str, Text] = {
    "succeeded": Text("Imported", "导入成功"),
    "recovered": Text("Recovered: imported", "已恢复：导入成功"),
    "failed": Text("Import failed", "导入失败"),
    "skipped": Text("Import skipped", "已跳过导入"),
    "down": Text("Target is down: imports wait for it", "目标端不可用，导入已暂停等待"),
    "up": Text("Target is up again: imports go on", "目标端已恢复，导入继续"),
}

CHANGES: Mapping[str, Text] = {
    "created": Text("new function", "新建函数"),
    "updated": Text("existing function updated", "已更新原有函数"),
    "renamed": Text("the name was taken: imported under a new name", "名称已被占用，已改名导入"),
    "already there": Text(
        "imported by an earlier attempt whose answer was lost", "此前一次尝试已导入，只是应答丢失"
    ),
}

COUNTED: Mapping[str, Text] = {
    "succeeded": Text("{} imported", "{} 个成功"),
    "failed": Text("{} failed", "{} 个失败"),
    "skipped": Text("{} skipped", "{} 个跳过"),
}
"""How a digest counts each result."""

LABELS: Mapping[str, Text] = {
    "function": Text("Function", "函数"),
    "package": Text("Package", "应用"),
    "target": Text("Target", "目标"),
    "change": Text("Change", "变更"),
    "reason": Text("Reason", "原因"),
    "object": Text("Object", "对象"),
    "version": Text("Version", "版本"),
    "archive": Text("Archive", "压缩包"),
    "code": Text("Code", "代码"),
    "attempts": Text("Attempts", "尝试次数"),
    "urn": Text("URN", "URN"),
    "failed at": Text("Failed at", "失败时间"),
    "from": Text("From", "开始时间"),
    "until": Text("Until", "结束时间"),
    "happened": Text("What happened", "出了什么问题"),
    "next": Text("What to do next", "下一步怎么做"),
    "open": Text("Open the delivery", "查看投递详情"),
    "list": Text("Open the deliveries", "查看全部投递"),
    "retrigger": Text("Try again", "重新触发"),
    "delivery": Text("Delivery", "投递"),
    "digest": Text("Messages in one, for there were many", "消息较多，已合并为一条"),
}

DIGEST = Text("{} imports", "{} 次导入")
MORE = Text("and {} more", "另有 {} 个")
TEST = Text("TEST", "测试")
TESTED = Text(
    "A test by `relay channels test`: nothing of this happened",
    "由 `relay channels test` 发送的测试消息，内容均非真实事件",
)
BROKEN = Text("own words that failed: {}", "自定义文案出错：{}")
