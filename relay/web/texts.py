"""All texts of the pages, in English and Chinese."""

from __future__ import annotations

from typing import Any

from relay.model import Localized

PHRASES: dict[str, Localized] = {
    "nav.skip": Localized("Skip to content", "跳到正文"),
    "nav.label": Localized("Main", "主导航"),
    "nav.logout": Localized("Log out", "退出登录"),
    "title.deliveries": Localized("Deliveries", "投递"),
    "title.notifications": Localized("Notifications", "通知"),
    "title.notification": Localized("Notification", "通知"),
    "title.sources": Localized("Sources", "来源"),
    "title.targets": Localized("Targets", "目标"),
    "title.login": Localized("Log in", "登录"),
    "page.pager": Localized("Pages", "分页"),
    "page.newest": Localized("Newest", "最新"),
    "page.older": Localized("Older →", "更早 →"),
    "page.json": Localized("View as JSON", "以 JSON 查看"),
    "state.pending": Localized("pending", "等待中"),
    "state.retrying": Localized("retrying", "等待重试"),
    "state.running": Localized("running", "进行中"),
    "state.succeeded": Localized("succeeded", "成功"),
    "state.failed": Localized("failed", "失败"),
    "state.skipped": Localized("skipped", "已跳过"),
    "reason.superseded": Localized("superseded by a newer version", "已被更新的版本取代"),
    "reason.replaced": Localized("replaced by a newer message", "已被更新的消息取代"),
    "reason.gone": Localized("the object no longer exists", "对象已不存在"),
    "reason.unchanged": Localized(
        "unchanged: the target already has this code", "未变化：目标中已有相同代码"
    ),
    "reason.configuration differs": Localized(
        "the target has this code with other settings", "目标中已有相同代码，但配置不同"
    ),
    "reason.no route": Localized("no route matches", "没有匹配的路由"),
    "reason.digest": Localized("included in a digest", "已并入汇总消息"),
    "message.digest": Localized("Digest of {count} imports", "{count} 次导入的汇总消息"),
    "kind.import": Localized("imports", "导入"),
    "kind.message": Localized("messages", "消息"),
    "kind.all": Localized("imports and messages", "导入和消息"),
    "list.counts": Localized("Imports by state", "各状态的导入数"),
    "list.state": Localized("State", "状态"),
    "list.function": Localized("Function", "函数"),
    "list.object": Localized("Object", "对象"),
    "list.destination": Localized("Destination", "目标"),
    "list.attempts": Localized("Attempts", "尝试次数"),
    "list.created": Localized("Created", "创建时间"),
    "list.received": Localized("Received", "接收时间"),
    "list.guess": Localized("guessed from the object key", "根据对象键推测"),
    "filter.label": Localized("Filter deliveries", "筛选投递"),
    "filter.state": Localized("State", "状态"),
    "filter.source": Localized("Source", "来源"),
    "filter.kind": Localized("Show", "显示"),
    "filter.key": Localized("Key", "对象键"),
    "filter.any": Localized("any", "不限"),
    "filter.apply": Localized("Filter", "筛选"),
    "filter.clear": Localized("Clear filters", "清除筛选"),
    "empty.filtered": Localized("No matching deliveries", "没有匹配的投递"),
    "empty.title": Localized("No deliveries yet", "还没有任何投递"),
    "empty.how": Localized(
        "Configure your storage to send its notifications to this address. "
        "Each uploaded zip then appears here:",
        "请配置存储，将通知发送到下列地址，之后上传的每个 zip 都会显示在这里：",
    ),
    "empty.submit": Localized("Or import an existing object:", "或者导入一个已有的对象："),
    "empty.no_source": Localized(
        "Add a source to relay.toml to get an address for notifications:",
        "请在 relay.toml 中添加来源，以获得接收通知的地址：",
    ),
    "story.to": Localized("to", "投递到"),
    "story.nowhere": Localized("no destination", "无目标"),
    "story.title": Localized("History", "处理过程"),
    "story.received": Localized("Event received", "收到事件"),
    "story.created": Localized("Message created", "已创建消息"),
    "story.import": Localized("View the import", "查看对应的导入"),
    "story.transport.hook": Localized("from the hook", "来自推送"),
    "story.transport.queue": Localized("from the queue", "来自队列"),
    "story.transport.scan": Localized("from a scan", "来自扫描"),
    "story.transport.submission": Localized("from a manual submission", "来自手动提交"),
    "story.notification": Localized("view notification", "查看通知"),
    "story.attempt": Localized("Attempt {number}: {outcome}", "第 {number} 次尝试：{outcome}"),
    "story.started": Localized("started", "开始于"),
    "story.took": Localized("took {span}", "用时 {span}"),
    "story.response": Localized("Response", "响应"),
    "story.next": Localized("Next attempt", "下一次尝试"),
    "story.first": Localized("Waiting for a worker", "等待执行"),
    "story.succeeded": Localized("Function imported", "函数已导入"),
    "story.posted": Localized("Message posted", "消息已发送"),
    "story.failed": Localized("Failed permanently", "最终失败"),
    "story.no_more": Localized(
        "There are no more automatic attempts. Fix the cause, then retrigger the delivery below.",
        "不再自动重试。请排除原因后在下方重新触发。",
    ),
    "story.skipped": Localized("Skipped", "已跳过"),
    "story.warning": Localized("Warning:", "警告："),
    "story.newer": Localized("View the newer message", "查看更新的消息"),
    "story.digest": Localized("View the digest", "查看汇总消息"),
    "story.imports": Localized("Imports in this digest: {count}", "此汇总消息包含 {count} 次导入"),
    "story.message": Localized("Message to {channel}", "发往 {channel} 的消息"),
    "story.details": Localized("details", "详情"),
    "story.retriggered": Localized(
        "Retriggered. The next attempt starts shortly.", "已重新触发，即将开始下一次尝试。"
    ),
    "missing.title": Localized("Missing in the configuration.", "配置中缺少以下项。"),
    "missing.what": Localized(
        "Deliveries wait until these tables are back in relay.toml:",
        "相关投递会一直等待，直到在 relay.toml 中恢复这些表：",
    ),
    "waiting.until": Localized("until", "直到"),
    "waiting.paused": Localized("waits: the destination is paused", "等待：目标已暂停"),
    "waiting.down": Localized("waits: the destination is down", "等待：目标不可用"),
    "waiting.rate": Localized("waits: the rate is used up", "等待：已达到速率上限"),
    "waiting.concurrency": Localized(
        "waits: as many deliveries as allowed are running", "等待：已达到并发上限"
    ),
    "waiting.same function": Localized(
        "waits for another delivery of the same function or object",
        "等待：同一函数或对象的另一个投递正在进行",
    ),
    "waiting.backoff": Localized("waits after a failed attempt", "等待：尝试失败后将重试"),
    "waiting.asked to wait": Localized(
        "waits: the destination asked to wait", "等待：目标要求等待"
    ),
    "waiting.quiet hours": Localized(
        "waits: quiet hours of the channel", "等待：频道处于免打扰时段"
    ),
    "waiting.not configured": Localized(
        "waits: its source or destination is not in the configuration",
        "等待：配置中没有其来源或目标",
    ),
    "outcome.running": Localized("running", "进行中"),
    "outcome.succeeded": Localized("succeeded", "成功"),
    "outcome.skipped": Localized("skipped", "已跳过"),
    "outcome.failed": Localized("failed", "失败"),
    "outcome.retry": Localized("failed, will be retried", "失败，将重试"),
    "outcome.lost": Localized("the worker process died", "工作进程异常退出"),
    "outcome.hung": Localized("aborted: no progress", "长时间无进展，已中止"),
    "outcome.released": Localized("released at shutdown", "停机时已释放"),
    "trigger.manual": Localized("manual", "手动触发"),
    "how.created": Localized("A new function was created.", "已新建函数。"),
    "how.updated": Localized("The existing function was updated.", "已更新原有函数。"),
    "how.unchanged": Localized(
        "The function already had this code and this configuration: nothing was changed.",
        "函数的代码与配置已与导出包一致，未做任何更改。",
    ),
    "how.renamed": Localized(
        "The name was taken, so a function with another name was created.",
        "名称已被占用，已用新名称创建函数。",
    ),
    "how.already there": Localized(
        "An earlier attempt had imported the function, but its response was lost.",
        "此前的尝试已导入该函数，但响应丢失。",
    ),
    "settings.differ": Localized("Settings that differ", "不同的配置"),
    "settings.changed": Localized("Settings that were changed", "已更改的配置"),
    "story.answer": Localized("Response of the import API", "导入接口的完整响应"),
    "settings.not_applied": Localized("Not applied", "未应用的配置"),
    "effect.code": Localized("The new code is in place.", "新代码已生效。"),
    "effect.configuration": Localized("The new configuration is in place.", "新配置已生效。"),
    "policy.skip": Localized("skip identical code, else fail", "代码相同则跳过，否则失败"),
    "policy.fail": Localized("fail", "失败"),
    "policy.update": Localized("update the existing function", "更新已有函数"),
    "policy.rename": Localized("import under a new name", "以新名称导入"),
    "fact.source": Localized("Source", "来源"),
    "fact.route": Localized("Route", "路由"),
    "fact.on_conflict": Localized("If the name is taken", "名称被占用时"),
    "fact.version": Localized("Version", "版本"),
    "fact.etag": Localized("ETag", "ETag"),
    "fact.size": Localized("Size", "大小"),
    "fact.attempts": Localized("Attempts", "尝试次数"),
    "fact.id": Localized("ID", "ID"),
    "fact.func_name": Localized("Function", "函数"),
    "fact.package": Localized("Package", "应用"),
    "fact.runtime": Localized("Runtime", "运行时"),
    "fact.handler": Localized("Handler", "函数入口"),
    "fact.code_size": Localized("Code size", "代码大小"),
    "fact.archive": Localized("Archive size", "压缩包大小"),
    "fact.digest": Localized("SHA-512", "SHA-512"),
    "retrigger.open": Localized("Retrigger…", "重新触发…"),
    "retrigger.what": Localized(
        "The delivery is attempted again immediately, with the same object version.",
        "将立即以同一对象版本再次投递。",
    ),
    "retrigger.succeeded": Localized(
        "This delivery has succeeded. Retriggering delivers the same object version again.",
        "此投递已成功。重新触发会再次投递同一对象版本。",
    ),
    "retrigger.newer": Localized(
        "The function holds a newer upload. To update the function overwrites it:",
        "该函数中已是更新的上传，更新函数会将其覆盖：",
    ),
    "retrigger.overwrites": Localized(
        "This overwrites a newer upload in the function:", "这会覆盖函数中更新的上传："
    ),
    "story.overwrote": Localized(
        "A newer upload in the function was overwritten:", "函数中更新的上传已被覆盖："
    ),
    "retrigger.on_conflict": Localized("If the name is taken", "名称被占用时"),
    "retrigger.as_before": Localized("as before", "与之前相同"),
    "retrigger.yes": Localized("Retrigger now", "立即重新触发"),
    "link.question": Localized("Retrigger this delivery?", "要重新触发此投递吗？"),
    "link.once": Localized(
        "This link is from a message in {channel}. It can be used once; "
        "your IP address is recorded with the attempt.",
        "此链接来自频道 {channel} 中的消息，仅可使用一次；您的 IP 地址会记入尝试记录。",
    ),
    "link.triggered": Localized("Triggered", "触发方式："),
    "link.page": Localized("View the full history (requires login)", "查看完整处理过程（需登录）"),
    "by.api": Localized("through the API", "API 调用"),
    "by.page": Localized("on its page", "页面操作"),
    "by.command": Localized("from the command line", "命令行"),
    "by.submission": Localized("by submitting the object again", "再次提交对象"),
    "by.link": Localized(
        "by the link in {channel}, from {address}", "{channel} 频道消息中的链接，来自 {address}"
    ),
    "notifications.what": Localized(
        "Everything that storages sent, byte for byte, and the result of reading it.",
        "存储发来的原始内容及其处理结果。",
    ),
    "notifications.none": Localized("No notifications yet", "还没有收到通知"),
    "notifications.verdict": Localized("Result", "结果"),
    "notifications.id": Localized("Notification", "通知"),
    "notifications.transport": Localized("Transport", "接收方式"),
    "notifications.events": Localized("Events", "事件数"),
    "notifications.envelopes": Localized("Envelopes", "封装格式"),
    "notifications.headers": Localized("Request", "请求"),
    "notifications.body": Localized("Body", "内容"),
    "notifications.no_body": Localized("The body is empty.", "内容为空。"),
    "notifications.not_text": Localized(
        "The body is not UTF-8. The first bytes are:", "内容不是 UTF-8 文本，开头的字节为："
    ),
    "notifications.cut": Localized(
        "Only the beginning is shown. The JSON view has the whole body.",
        "仅显示开头，完整内容请以 JSON 查看。",
    ),
    "notifications.replayed": Localized(
        "The notification was read again. This is the new result.",
        "已重新读取该通知，这是新的结果。",
    ),
    "verdict.accepted": Localized("accepted", "已接受"),
    "verdict.duplicate": Localized("duplicate", "重复"),
    "verdict.ignored": Localized("ignored", "已忽略"),
    "verdict.unreadable": Localized("unreadable", "无法解析"),
    "verdict.handshake": Localized("handshake", "握手"),
    "transport.hook": Localized("hook", "推送"),
    "transport.queue": Localized("queue", "队列"),
    "transport.scan": Localized("scan", "扫描"),
    "transport.submission": Localized("submission", "手动提交"),
    "replay.open": Localized("Read again…", "重新读取…"),
    "replay.what": Localized(
        "Relay parses the stored bytes again, for example after a fix of the configuration or of "
        "Relay. Events that are already known are not delivered twice.",
        "Relay 会重新解析已保存的原始内容，例如在修正配置或升级 Relay 之后。已知事件不会重复投递。",
    ),
    "replay.yes": Localized("Read again now", "立即重新读取"),
    "sources.name": Localized("Source", "来源"),
    "sources.kind": Localized("Kind", "类型"),
    "sources.hook": Localized("Hook", "接收地址"),
    "sources.last_notification": Localized("Last notification", "最近通知"),
    "sources.last_event": Localized("Last event", "最近事件"),
    "sources.never": Localized("never", "从未"),
    "sources.silent": Localized("No notifications since", "未收到通知，始于"),
    "sources.none": Localized("No source configured", "尚未配置来源"),
    "targets.name": Localized("Target", "目标"),
    "targets.state": Localized("State", "状态"),
    "targets.missing": Localized("not configured", "未配置"),
    "targets.pause": Localized("Pause", "暂停"),
    "targets.resume": Localized("Resume", "恢复"),
    "target.open": Localized("Open", "正常"),
    "target.paused": Localized("Paused manually since", "已手动暂停，始于"),
    "target.down": Localized("Down, checked every 30 s, since", "不可用，每 30 秒检测一次，始于"),
    "target.waiting": Localized("Throttled by the target until", "目标限流，等待至"),
    "login.what": Localized(
        "Enter a token from api.tokens in relay.toml.",
        "请输入 relay.toml 中 api.tokens 配置的令牌。",
    ),
    "login.token": Localized("Token", "令牌"),
    "login.enter": Localized("Log in", "登录"),
    "error.request": Localized("Request ID", "请求 ID"),
    "error.home": Localized("Back to deliveries", "返回投递列表"),
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
    """Return the text in `en` or `zh` with the values filled in.

    An unknown key, such as a skip reason of a plug-in, is returned without the prefix.
    """
    known = PHRASES.get(key)
    if known is None:
        return key.partition(".")[2] or key
    return known.in_language(language).format(**values)
