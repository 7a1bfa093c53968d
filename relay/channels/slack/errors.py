"""What Slack's error words mean, and what to do about them: for webhooks and for bots.

Source: docs.slack.dev, "Sending messages using incoming webhooks", the changelog of 2016-05-17, and
the errors of chat.postMessage, chat.update and auth.test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relay.errors import PermanentFailure, RelayError, TemporaryFailure, Throttled
from relay.model import Localized
from relay.outbound.webhook import WebhookResponse

Words = tuple[Localized, Localized]

_NEW_URL = Localized(
    "Make a new incoming webhook in Slack and put its URL into the channel's url; "
    "then retrigger the message.",
    "请在 Slack 中新建 Incoming Webhook，将其 URL 填入频道的 url，然后重新触发该消息。",
)
_NEW_TOKEN = Localized(
    "Copy the Bot User OAuth Token from the app's page OAuth & Permissions into the channel's "
    "token; then retrigger the message.",
    "请在应用的 OAuth & Permissions 页面复制 Bot User OAuth Token，填入频道的 token，"
    "然后重新触发该消息。",
)
_ASK_ADMIN = Localized(
    "Ask a Slack administrator to allow it, then retrigger the message.",
    "请联系 Slack 管理员放行，然后重新触发该消息。",
)
_REPORT = Localized(
    "This is a fault of Relay: please report it with the delivery's id.",
    "这是 Relay 的缺陷，请附上投递编号反馈给我们。",
)
_UNREADABLE = (Localized("Slack could not read our message", "Slack 无法解析该消息"), _REPORT)

WEBHOOK: Mapping[str, Words] = {
    "no_service": (
        Localized(
            "Slack says that this webhook was removed or is disabled",
            "Slack 称该 Webhook 已被删除或停用",
        ),
        _NEW_URL,
    ),
    "no_service_id": (
        Localized("Slack does not know this webhook's URL", "Slack 不认识该 Webhook 的 URL"),
        _NEW_URL,
    ),
    "no_team": (
        Localized(
            "Slack does not know the workspace in the webhook's URL",
            "Slack 不认识 Webhook URL 中的工作区",
        ),
        _NEW_URL,
    ),
    "team_disabled": (
        Localized("The Slack workspace is disabled", "该 Slack 工作区已被停用"),
        _NEW_URL,
    ),
    "invalid_token": (
        Localized("Slack says that the webhook's URL is wrong", "Slack 称该 Webhook 的 URL 有误"),
        _NEW_URL,
    ),
    "channel_not_found": (
        Localized("The webhook's Slack channel is gone", "该 Webhook 对应的 Slack 频道已不存在"),
        _NEW_URL,
    ),
    "channel_is_archived": (
        Localized("The webhook's Slack channel is archived", "该 Webhook 对应的 Slack 频道已归档"),
        Localized(
            "Unarchive the channel in Slack, or make a webhook for another one; "
            "then retrigger the message.",
            "请在 Slack 中取消归档，或为其他频道新建 Webhook，然后重新触发该消息。",
        ),
    ),
    "action_prohibited": (
        Localized(
            "The Slack workspace forbids this webhook to post here",
            "该 Slack 工作区禁止此 Webhook 在此发言",
        ),
        _ASK_ADMIN,
    ),
    "posting_to_general_channel_denied": (
        Localized(
            "Only some people may post to this Slack channel",
            "该 Slack 频道仅限部分成员发言",
        ),
        Localized(
            "Ask a Slack administrator to allow it, or use another channel.",
            "请联系 Slack 管理员放行，或改用其他频道。",
        ),
    ),
    "invalid_payload": _UNREADABLE,
}

OTHER: Words = (
    Localized("Slack refused the message", "Slack 拒绝了该消息"),
    Localized(
        "Its answer is kept with the attempt. Check the channel's url, then retrigger the message.",
        "Slack 的应答保存在该次尝试中。请检查频道的 url，然后重新触发该消息。",
    ),
)

_BOT: tuple[tuple[str, Words], ...] = (
    (
        "not_in_channel",
        (
            Localized("The bot is no member of the Slack channel", "机器人不是该 Slack 频道的成员"),
            Localized(
                "Type /invite @ and the bot's name in the channel (or give the app the scope "
                "chat:write.public for public ones); then retrigger the message.",
                "请在频道中输入 /invite @机器人名 邀请它加入"
                "（公开频道也可为应用添加 chat:write.public 权限），然后重新触发该消息。",
            ),
        ),
    ),
    (
        "channel_not_found",
        (
            Localized(
                "Slack knows no such channel, or the bot may not see it",
                "Slack 找不到该频道，或机器人无权看到它",
            ),
            Localized(
                "Put the channel's id (C..., at the foot of its details) into `channel`; into a "
                "private one the bot has to be invited. Then retrigger the message.",
                "请把频道 ID（C 开头，见频道详情底部）填入 channel；"
                "私有频道须先邀请机器人加入。然后重新触发该消息。",
            ),
        ),
    ),
    (
        "is_archived",
        (
            Localized("The Slack channel is archived", "该 Slack 频道已归档"),
            Localized(
                "Unarchive it in Slack, or set another channel; then retrigger the message.",
                "请在 Slack 中取消归档，或改用其他频道，然后重新触发该消息。",
            ),
        ),
    ),
    (
        "invalid_auth not_authed token_revoked token_expired account_inactive",
        (
            Localized(
                "Slack does not take the token: it is wrong, was revoked or has expired",
                "Slack 不接受该 token: 有误、已被撤销或已过期",
            ),
            _NEW_TOKEN,
        ),
    ),
    (
        "not_allowed_token_type",
        (
            Localized("The token is of a kind that may not post", "此类 token 不能用于发送消息"),
            _NEW_TOKEN,
        ),
    ),
    (
        "missing_scope no_permission",
        (
            Localized("The bot lacks a permission of Slack's", "机器人缺少所需的 Slack 权限"),
            Localized(
                "Give the app the scope chat:write under OAuth & Permissions, install it again, "
                "and retrigger the message.",
                "请在应用的 OAuth & Permissions 中添加 chat:write 权限并重新安装应用，"
                "然后重新触发该消息。",
            ),
        ),
    ),
    (
        (
            "restricted_action restricted_action_read_only_channel "
            "restricted_action_thread_only_channel restricted_action_non_threadable_channel "
            "ekm_access_denied access_denied accesslimited enterprise_is_restricted "
            "team_access_not_granted org_login_required two_factor_setup_required"
        ),
        (
            Localized(
                "The Slack workspace does not allow the bot to post here",
                "该 Slack 工作区不允许机器人在此发言",
            ),
            _ASK_ADMIN,
        ),
    ),
    (
        "thread_not_found message_not_found cannot_reply_to_message thread_locked",
        (
            Localized("The message to reply to is gone from Slack", "Slack 中要回复的消息已不存在"),
            Localized("Retrigger the message.", "请重新触发该消息。"),
        ),
    ),
    (
        "msg_too_long msg_blocks_too_long",
        (Localized("The message is too long for Slack", "该消息超出 Slack 的长度限制"), _REPORT),
    ),
    (
        (
            "invalid_blocks invalid_blocks_format invalid_arguments invalid_json json_not_object "
            "no_text too_many_attachments"
        ),
        _UNREADABLE,
    ),
)


def _each() -> Iterator[tuple[str, Words]]:
    for names, words in _BOT:
        yield from ((name, words) for name in names.split())


BOT: Mapping[str, Words] = dict(_each())

_SLOWER = ("ratelimited", "rate_limited", "message_limit_exceeded")
_AGAIN = Localized("Relay posts the message again by itself.", "Relay 会自动重新发送。")


def of_webhook(word: str, answer: WebhookResponse) -> RelayError | None:
    """What an incoming webhook's refusal means; None: it is none that is known as one."""
    known = WEBHOOK.get(word)
    if not known and answer.status not in (400, 403, 404, 410):
        return None
    code = f"slack.{word}" if known else "slack.refused"
    return PermanentFailure(code, *(known or OTHER), answer=answer.summary)


def of_bot(word: str, answer: WebhookResponse) -> RelayError:
    """What `error` in an answer of the Web API means. What is not known is tried again."""
    if word in _SLOWER:
        return Throttled(
            "slack.busy",
            Localized("Slack asks us to wait", "Slack 要求稍后再发"),
            _AGAIN,
            answer=answer.summary,
            retry_after=answer.retry_after,
        )
    if word in BOT:
        return PermanentFailure(f"slack.{word}", *BOT[word], answer=answer.summary)
    return TemporaryFailure(
        "slack.trouble",
        Localized("Slack did not post the message", "Slack 未能发送该消息"),
        Localized(
            "Its answer is kept with the attempt. Relay tries again meanwhile.",
            "Slack 的应答保存在该次尝试中，其间 Relay 会继续重试。",
        ),
        answer=answer.summary,
        retry_after=answer.retry_after,
    )


def not_slack(answer: WebhookResponse) -> RelayError:
    """A 200 that is not Slack's: a proxy, a hotel's page, another product."""
    return TemporaryFailure(
        "slack.not_ok",
        Localized(
            "The answer is 200, but not Slack's `ok`: the message was not posted",
            "返回了 200，但内容不是 Slack 的 `ok`，消息并未送达",
        ),
        Localized(
            "Check that the channel's url is Slack's and that no proxy answers in its place.",
            "请检查频道的 url 是否为 Slack 地址，以及是否有代理代为应答。",
        ),
        answer=answer.summary,
    )
