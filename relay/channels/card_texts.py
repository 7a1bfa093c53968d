"""Texts, signs and tones of cards, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from relay.model import Localized

Tone = Literal["good", "bad", "neutral", "warning"]
"""The meaning of a card's colour. Sign and title express the same without colour."""

TONES: Mapping[str, Tone] = {
    "succeeded": "good",
    "recovered": "good",
    "failed": "bad",
    "skipped": "neutral",
    "down": "bad",
    "up": "good",
    "missing": "warning",
}

SIGNS: Mapping[str, str] = {
    "succeeded": "✅",
    "recovered": "💚",
    "failed": "❌",
    "skipped": "⏭️",
    "down": "🔴",
    "up": "🟢",
    "missing": "⚠️",
    "digest": "🗂️",
}

TITLES: Mapping[str, Localized] = {
    "succeeded": Localized("Imported", "导入成功"),
    "recovered": Localized("Recovered: imported", "已恢复：导入成功"),
    "failed": Localized("Import failed", "导入失败"),
    "skipped": Localized("Import skipped", "已跳过导入"),
    "down": Localized("Target is down: imports are on hold", "目标不可用，导入已暂停"),
    "missing": Localized(
        "Missing in the configuration: deliveries wait", "配置中缺少以下项，投递正在等待"
    ),
    "up": Localized("Target is up again: imports continue", "目标已恢复，导入继续"),
}

CHANGES: Mapping[str, Localized] = {
    "created": Localized("new function", "新建函数"),
    "updated": Localized("existing function updated", "已更新原有函数"),
    "unchanged": Localized(
        "nothing to change: same code, same configuration", "代码与配置均相同，未做更改"
    ),
    "renamed": Localized(
        "the name was taken: imported under a new name", "名称已被占用，已改名导入"
    ),
    "already there": Localized(
        "imported by an earlier attempt whose response was lost",
        "此前一次尝试已导入，但未收到响应",
    ),
}

COUNTED: Mapping[str, Localized] = {
    "succeeded": Localized("{} imported", "{} 个成功"),
    "failed": Localized("{} failed", "{} 个失败"),
    "skipped": Localized("{} skipped", "{} 个跳过"),
}
"""Number of imports with each result, in a digest."""

LABELS: Mapping[str, Localized] = {
    "function": Localized("Function", "函数"),
    "package": Localized("Package", "应用"),
    "target": Localized("Target", "目标"),
    "change": Localized("Change", "变更"),
    "reason": Localized("Reason", "原因"),
    "changed settings": Localized("Changed settings", "已更改的配置"),
    "warnings": Localized("Warnings", "警告"),
    "not applied": Localized("Not applied", "未应用的配置"),
    "may be reset": Localized("May have been reset", "可能已被重置"),
    "object": Localized("Object", "对象"),
    "version": Localized("Version", "版本"),
    "archive": Localized("Archive", "压缩包"),
    "code": Localized("Code", "代码"),
    "attempts": Localized("Attempts", "尝试次数"),
    "urn": Localized("URN", "URN"),
    "failed at": Localized("Failed at", "失败时间"),
    "from": Localized("From", "开始时间"),
    "until": Localized("Until", "结束时间"),
    "happened": Localized("What happened", "出了什么问题"),
    "next": Localized("What to do next", "下一步怎么做"),
    "open": Localized("Open the delivery", "查看投递详情"),
    "list": Localized("Open the deliveries", "查看全部投递"),
    "retrigger": Localized("Try again", "重新触发"),
    "delivery": Localized("Delivery", "投递"),
    "digest": Localized(
        "Combined: many messages in a short time", "短时间内消息较多，已合并为一条"
    ),
}

DIGEST = Localized("{} imports", "{} 次导入")
MORE = Localized("and {} more", "另有 {} 个")
TEST = Localized("TEST", "测试")
TESTED = Localized(
    "Test message of `relay channels test`: the events are not real",
    "由 `relay channels test` 发送的测试消息，内容均非真实事件",
)
BROKEN = Localized("templates that failed: {}", "自定义文案出错：{}")
