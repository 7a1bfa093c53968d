"""Every sentence of the pages, in English and Chinese."""

from __future__ import annotations

from typing import Any

from relay.model import Localized

PHRASES: dict[str, Localized] = {
    "nav.skip": Localized("Skip to the content", "跳到正文"),
    "nav.label": Localized("Main", "主导航"),
    "nav.logout": Localized("Log out", "退出登录"),
    "title.deliveries": Localized("Deliveries", "投递"),
    "title.notifications": Localized("Notifications", "通知"),
    "title.notification": Localized("Notification", "通知"),
    "title.sources": Localized("Sources", "来源"),
    "title.targets": Localized("Targets", "目标"),
    "targets.state": Localized("State", "状态"),
    "targets.pause": Localized("Pause", "暂停"),
    "targets.resume": Localized("Resume", "恢复"),
    "target.open": Localized("takes deliveries", "正常接收"),
    "target.paused": Localized("paused by hand since", "已手动暂停，始于"),
    "target.down": Localized("down, tried every 30 s, since", "不可用，每 30 秒试探一次，始于"),
    "target.waiting": Localized("asked to wait until", "目标端要求等待至"),
    "title.login": Localized("Log in", "登录"),
    "page.pager": Localized("Pages", "分页"),
    "page.newest": Localized("Newest", "最新"),
    "page.older": Localized("Older →", "更早 →"),
    "state.pending": Localized("pending", "等待中"),
    "state.retrying": Localized("retrying", "等待重试"),
    "state.running": Localized("running", "进行中"),
    "state.succeeded": Localized("succeeded", "成功"),
    "state.failed": Localized("failed", "失败"),
    "state.skipped": Localized("skipped", "已跳过"),
    "reason.superseded": Localized("superseded by a newer version", "已被更新的版本取代"),
    "reason.gone": Localized("the object is gone", "对象已不存在"),
    "reason.unchanged": Localized(
        "unchanged: the target holds this code", "未变化：目标端已有相同代码"
    ),
    "reason.no route": Localized("no route takes it", "没有匹配的路由"),
    "reason.digest": Localized("told in a digest", "已在汇总消息中告知"),
    "message.digest": Localized("{count} imports in one message", "{count} 次导入的汇总消息"),
    "kind.import": Localized("imports", "导入"),
    "kind.message": Localized("messages", "消息"),
    "kind.all": Localized("imports and messages", "导入和消息"),
    "list.counts": Localized("Imports by state", "各状态的导入数"),
    "list.state": Localized("State", "状态"),
    "list.function": Localized("Function", "函数"),
    "list.object": Localized("Object", "对象"),
    "list.destination": Localized("Destination", "目的地"),
    "list.attempts": Localized("Attempts", "尝试"),
    "list.came": Localized("Came", "到达"),
    "list.guess": Localized("guessed from the object's key", "根据对象键推测"),
    "filter.label": Localized("Filter deliveries", "筛选投递"),
    "filter.state": Localized("State", "状态"),
    "filter.source": Localized("Source", "来源"),
    "filter.kind": Localized("Show", "显示"),
    "filter.key": Localized("Key", "对象键"),
    "filter.any": Localized("any", "不限"),
    "filter.apply": Localized("Filter", "筛选"),
    "filter.clear": Localized("Show all", "显示全部"),
    "empty.filtered": Localized("Nothing matches", "没有匹配的投递"),
    "empty.title": Localized("Nothing has arrived yet", "还没有任何投递"),
    "empty.how": Localized(
        "Let your storage post its notifications here; each uploaded zip then shows up:",
        "让存储把通知发送到下列地址，之后每个上传的 zip 都会出现在这里：",
    ),
    "empty.submit": Localized(
        "Or deliver an object that is there already:", "或者投递一个已经存在的对象："
    ),
    "empty.no_source": Localized(
        "No source is configured. A source in relay.toml gives notifications an address:",
        "尚未配置来源。在 relay.toml 中添加来源后，通知才有接收地址：",
    ),
    "story.to": Localized("to", "投递到"),
    "story.nowhere": Localized("nowhere", "无目的地"),
    "story.title": Localized("What happened", "经过"),
    "story.came": Localized("The object was announced", "收到对象的通知"),
    "story.tells_of": Localized("This message tells of an import", "此消息对应的导入"),
    "story.road.hook": Localized("posted to the hook", "由存储发送到接收地址"),
    "story.road.queue": Localized("pulled from the queue", "从队列拉取"),
    "story.road.scan": Localized("found by a scan", "由扫描发现"),
    "story.road.submission": Localized("submitted by hand", "手工提交"),
    "story.notification": Localized("notification", "查看通知"),
    "story.attempt": Localized("Attempt {number}", "第 {number} 次尝试"),
    "story.claimed": Localized("claimed", "开始于"),
    "story.took": Localized("took {span}", "用时 {span}"),
    "story.answer": Localized("What the other side said", "对方的应答"),
    "story.next": Localized("Next attempt", "下一次尝试"),
    "story.first": Localized("Waiting for a worker", "等待处理"),
    "story.succeeded": Localized("The function is imported", "函数已导入"),
    "story.posted": Localized("The message is posted", "消息已发出"),
    "story.failed": Localized("Given up", "已放弃"),
    "story.no_more": Localized(
        "No more automatic attempts. Fix the cause, then retrigger below.",
        "不再自动重试。请排除原因后在下方重新触发。",
    ),
    "story.skipped": Localized("Deliberately not delivered", "有意不投递"),
    "story.warning": Localized("Warning:", "警告："),
    "story.digest": Localized("The digest that tells of it", "查看汇总消息"),
    "story.told": Localized(
        "What this message tells of: {count} imports", "此消息包含 {count} 次导入"
    ),
    "story.message": Localized("Message to {channel}", "发往 {channel} 的消息"),
    "story.details": Localized("details", "详情"),
    "story.json": Localized("This page as JSON", "以 JSON 查看"),
    "story.retriggered": Localized("Retriggered: it is due now.", "已重新触发，即将执行。"),
    "outcome.running": Localized("running", "进行中"),
    "outcome.succeeded": Localized("succeeded", "成功"),
    "outcome.skipped": Localized("nothing to do", "无需执行"),
    "outcome.failed": Localized("failed", "失败"),
    "outcome.retry": Localized("failed, will be tried again", "失败，将重试"),
    "outcome.lost": Localized("its worker died", "执行进程已终止"),
    "outcome.hung": Localized("hung, given up", "长时间无响应，已放弃"),
    "outcome.released": Localized("given back at shutdown", "停机时已归还"),
    "trigger.manual": Localized("by hand", "手工触发"),
    "how.created": Localized("Created as a new function.", "已新建函数。"),
    "how.updated": Localized("The function was there: updated.", "函数已存在，已更新。"),
    "how.renamed": Localized(
        "The name was taken: created under another.", "名称被占用，已另名创建。"
    ),
    "how.already there": Localized(
        "An earlier attempt had done it already, its answer was lost.",
        "此前的尝试已经完成，只是应答丢失。",
    ),
    "policy.skip": Localized("skip if it is the same, else fail", "相同则跳过，不同则失败"),
    "policy.fail": Localized("fail if the name is taken", "名称被占用则失败"),
    "policy.update": Localized("update the function", "更新已有函数"),
    "policy.rename": Localized("import under a new name", "以新名称导入"),
    "fact.source": Localized("Source", "来源"),
    "fact.route": Localized("Route", "路由"),
    "fact.on_conflict": Localized("On conflict", "冲突时"),
    "fact.version": Localized("Version", "版本"),
    "fact.etag": Localized("ETag", "ETag"),
    "fact.size": Localized("Size", "大小"),
    "fact.attempts": Localized("Attempts", "尝试次数"),
    "fact.id": Localized("Id", "编号"),
    "fact.func_name": Localized("Function", "函数"),
    "fact.package": Localized("Package", "应用"),
    "fact.runtime": Localized("Runtime", "运行时"),
    "fact.handler": Localized("Handler", "入口"),
    "fact.code_size": Localized("Code", "代码大小"),
    "fact.archive": Localized("Archive", "压缩包"),
    "fact.digest": Localized("SHA-512", "SHA-512"),
    "retrigger.open": Localized("Retrigger…", "重新触发…"),
    "retrigger.what": Localized(
        "The delivery is tried again at once, with the same object version.",
        "将立即以同一对象版本再次投递。",
    ),
    "retrigger.succeeded": Localized(
        "This delivery succeeded. Retriggering brings the same object version once more.",
        "此投递已成功。重新触发会再次投递同一对象版本。",
    ),
    "retrigger.on_conflict": Localized("If the name is taken", "名称被占用时"),
    "retrigger.as_before": Localized("as before", "与之前相同"),
    "retrigger.yes": Localized("Yes, retrigger now", "确认重新触发"),
    "link.question": Localized("Try this delivery again?", "要重新触发此投递吗？"),
    "link.once": Localized(
        "From a message in {channel}. Who asks is kept with the attempt; the link works once.",
        "来自频道 {channel} 中的消息。操作来源会记入尝试记录，链接仅可使用一次。",
    ),
    "link.asked": Localized("Asked for", "触发方式："),
    "link.page": Localized("All that happened (with a login)", "查看全部经过（需登录）"),
    "by.api": Localized("through the API", "API 调用"),
    "by.page": Localized("on its page", "页面操作"),
    "by.command": Localized("by a command", "命令行"),
    "by.submission": Localized("by submitting the object again", "再次提交对象"),
    "by.link": Localized(
        "by the link in {channel}, from {address}", "{channel} 频道消息中的链接，来自 {address}"
    ),
    "notifications.what": Localized(
        "What storages sent, byte for byte, and what became of it.",
        "存储发来的原始内容及处理结果。",
    ),
    "notifications.none": Localized("No notification has come yet", "还没有收到通知"),
    "notifications.verdict": Localized("Verdict", "结论"),
    "notifications.id": Localized("Notification", "通知"),
    "notifications.road": Localized("Road", "途径"),
    "notifications.events": Localized("Events", "事件"),
    "notifications.envelopes": Localized("Envelopes", "封装"),
    "notifications.headers": Localized("Request", "请求"),
    "notifications.body": Localized("Body", "内容"),
    "notifications.no_body": Localized("The body is empty.", "内容为空。"),
    "notifications.not_text": Localized(
        "Not UTF-8; its first bytes:", "不是 UTF-8 文本，开头字节："
    ),
    "notifications.cut": Localized(
        "Only the beginning is shown; the JSON has all of it.", "仅显示开头，完整内容见 JSON。"
    ),
    "notifications.replayed": Localized(
        "Read again; this is the new reading.", "已重新读取，这是新的结果。"
    ),
    "verdict.accepted": Localized("accepted", "已接受"),
    "verdict.duplicate": Localized("duplicate", "重复"),
    "verdict.ignored": Localized("ignored", "已忽略"),
    "verdict.unreadable": Localized("unreadable", "无法读取"),
    "verdict.handshake": Localized("handshake", "握手"),
    "road.hook": Localized("hook", "接收地址"),
    "road.queue": Localized("queue", "队列"),
    "road.scan": Localized("scan", "扫描"),
    "road.submission": Localized("submission", "手工提交"),
    "replay.open": Localized("Read again…", "重新读取…"),
    "replay.what": Localized(
        "The stored bytes are read once more, after a fix of the configuration or of Relay. "
        "What is known already is not delivered twice.",
        "在修复配置或 Relay 之后，重新读取保存的内容。已知的事件不会重复投递。",
    ),
    "replay.yes": Localized("Yes, read again", "确认重新读取"),
    "sources.name": Localized("Source", "来源"),
    "sources.kind": Localized("Kind", "类型"),
    "sources.hook": Localized("Hook", "接收地址"),
    "sources.last_notification": Localized("Last notification", "最近通知"),
    "sources.last_event": Localized("Last event", "最近事件"),
    "sources.never": Localized("never", "从未"),
    "sources.silent": Localized("Silent since", "无通知，始于"),
    "sources.none": Localized("No source is configured", "尚未配置来源"),
    "login.what": Localized(
        "With one of the tokens of api.tokens.", "请输入 api.tokens 中的一个令牌。"
    ),
    "login.token": Localized("Token", "令牌"),
    "login.enter": Localized("Log in", "登录"),
    "error.request": Localized("Request", "请求号"),
    "error.home": Localized("To the deliveries", "返回投递列表"),
    "time.now": Localized("just now", "刚刚"),
    "time.ago": Localized("{span} ago", "{span}前"),
    "time.in": Localized("in {span}", "{span}后"),
    "time.days": Localized("{count} days", "{count} 天"),
    "time.hours": Localized("{count} h", "{count} 小时"),
    "time.minutes": Localized("{count} min", "{count} 分钟"),
    "time.seconds": Localized("{count} s", "{count} 秒"),
    "time.milliseconds": Localized("{count} ms", "{count} 毫秒"),
}


def phrase(key: str, language: str, **values: Any) -> str:
    """The sentence in `en` or `zh`, its {fields} filled.

    A word that a plug-in may have made up, such as a reason of its own, stands for itself.
    """
    known = PHRASES.get(key)
    if known is None:
        return key.partition(".")[2] or key
    return known.in_(language).format(**values)
