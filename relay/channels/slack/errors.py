"""Error words of Slack's incoming webhooks and of the Web API.

Source: docs.slack.dev, "Sending messages using incoming webhooks", the changelog of 2016-05-17, and
the errors of chat.postMessage, chat.update and auth.test.
"""

from __future__ import annotations

from relay.channels.known_errors import REPORT_BUG, explain, refused, throttled, unexpected_response
from relay.errors import RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.webhook import WebhookResponse, refusal

_PRODUCT = Localized("Slack", " Slack ")
_NEW_URL = Localized(
    "Create a new incoming webhook in Slack, copy its URL into the channel's url, "
    "then retrigger the message.",
    "请在 Slack 中新建 Incoming Webhook，将其 URL 填入频道的 url，然后重新触发该消息。",
)
_NEW_TOKEN = Localized(
    "Copy the Bot User OAuth Token from the app's page OAuth & Permissions into the channel's "
    "token, then retrigger the message.",
    "请在应用的 OAuth & Permissions 页面复制 Bot User OAuth Token，填入频道的 token，"
    "然后重新触发该消息。",
)
_ASK_ADMIN = Localized(
    "Ask a Slack administrator for permission, then retrigger the message.",
    "请联系 Slack 管理员放行，然后重新触发该消息。",
)
_UNREADABLE = Localized("Slack could not parse the message", "Slack 无法解析该消息")

WEBHOOK = {
    **explain(
        "no_service",
        Localized("The Slack webhook was removed or disabled", "该 Slack Webhook 已被删除或停用"),
        _NEW_URL,
    ),
    **explain(
        "no_service_id",
        Localized("Slack does not know the URL of this webhook", "Slack 无法识别该 Webhook 的 URL"),
        _NEW_URL,
    ),
    **explain(
        "no_team",
        Localized(
            "Slack does not know the workspace in the webhook's URL",
            "Slack 无法识别 Webhook URL 中的工作区",
        ),
        _NEW_URL,
    ),
    **explain(
        "team_disabled",
        Localized("The Slack workspace is disabled", "该 Slack 工作区已被停用"),
        _NEW_URL,
    ),
    **explain(
        "invalid_token",
        Localized("The URL of the Slack webhook is wrong", "该 Slack Webhook 的 URL 有误"),
        _NEW_URL,
    ),
    **explain(
        "channel_not_found",
        Localized(
            "The Slack channel of the webhook does not exist any more",
            "该 Webhook 对应的 Slack 频道已不存在",
        ),
        _NEW_URL,
    ),
    **explain(
        "channel_is_archived",
        Localized(
            "The Slack channel of the webhook is archived", "该 Webhook 对应的 Slack 频道已归档"
        ),
        Localized(
            "Unarchive the channel in Slack, or create a webhook for another channel; "
            "then retrigger the message.",
            "请在 Slack 中取消归档，或为其他频道新建 Webhook，然后重新触发该消息。",
        ),
    ),
    **explain(
        "action_prohibited",
        Localized(
            "The Slack workspace does not allow this webhook to post here",
            "该 Slack 工作区禁止此 Webhook 在此发言",
        ),
        _ASK_ADMIN,
    ),
    **explain(
        "posting_to_general_channel_denied",
        Localized(
            "Only some members may post to this Slack channel", "该 Slack 频道仅限部分成员发言"
        ),
        Localized(
            "Ask a Slack administrator for permission, or use another channel.",
            "请联系 Slack 管理员放行，或改用其他频道。",
        ),
    ),
    **explain("invalid_payload", _UNREADABLE, REPORT_BUG),
}

BOT = {
    **explain(
        "not_in_channel",
        Localized("The bot is not a member of the Slack channel", "机器人不是该 Slack 频道的成员"),
        Localized(
            "Type /invite @ and the bot's name in the channel (for public channels the scope "
            "chat:write.public is enough), then retrigger the message.",
            "请在频道中输入 /invite @机器人名 邀请它加入"
            "（公开频道也可为应用添加 chat:write.public 权限），然后重新触发该消息。",
        ),
    ),
    **explain(
        "channel_not_found",
        Localized(
            "The Slack channel does not exist, or the bot has no access to it",
            "Slack 找不到该频道，或机器人无权访问",
        ),
        Localized(
            "Put the channel's id (C..., at the bottom of its details) into `channel`; invite the "
            "bot if the channel is private. Then retrigger the message.",
            "请把频道 ID（C 开头，见频道详情底部）填入 channel；"
            "私有频道须先邀请机器人加入。然后重新触发该消息。",
        ),
    ),
    **explain(
        "is_archived",
        Localized("The Slack channel is archived", "该 Slack 频道已归档"),
        Localized(
            "Unarchive it in Slack, or set another channel; then retrigger the message.",
            "请在 Slack 中取消归档，或改用其他频道，然后重新触发该消息。",
        ),
    ),
    **explain(
        "invalid_auth not_authed token_revoked token_expired account_inactive",
        Localized(
            "Slack rejected the token: it is wrong, revoked or expired",
            "Slack 拒绝了该 token：有误、已被撤销或已过期",
        ),
        _NEW_TOKEN,
    ),
    **explain(
        "not_allowed_token_type",
        Localized("A token of this type may not post", "此类 token 不能用于发送消息"),
        _NEW_TOKEN,
    ),
    **explain(
        "missing_scope no_permission",
        Localized("The bot lacks a Slack permission", "机器人缺少所需的 Slack 权限"),
        Localized(
            "Add the scope chat:write under OAuth & Permissions, reinstall the app, "
            "then retrigger the message.",
            "请在应用的 OAuth & Permissions 中添加 chat:write 权限并重新安装应用，"
            "然后重新触发该消息。",
        ),
    ),
    **explain(
        "restricted_action restricted_action_read_only_channel "
        "restricted_action_thread_only_channel restricted_action_non_threadable_channel "
        "ekm_access_denied access_denied accesslimited enterprise_is_restricted "
        "team_access_not_granted org_login_required two_factor_setup_required",
        Localized(
            "The Slack workspace does not allow the bot to post here",
            "该 Slack 工作区不允许机器人在此发言",
        ),
        _ASK_ADMIN,
    ),
    **explain(
        "thread_not_found message_not_found cannot_reply_to_message thread_locked",
        Localized(
            "The Slack message to reply to does not exist any more", "Slack 中要回复的消息已不存在"
        ),
        Localized("Retrigger the message.", "请重新触发该消息。"),
    ),
    **explain(
        "msg_too_long msg_blocks_too_long",
        Localized("The message is too long for Slack", "该消息超出 Slack 的长度限制"),
        REPORT_BUG,
    ),
    **explain(
        "invalid_blocks invalid_blocks_format invalid_arguments invalid_json json_not_object "
        "no_text too_many_attachments",
        _UNREADABLE,
        REPORT_BUG,
    ),
}

_RATE_LIMITED = ("ratelimited", "rate_limited", "message_limit_exceeded")


def webhook_error(response: WebhookResponse) -> RelayError:
    """Return the error of an incoming webhook's response that is not a success."""
    word = response.text.strip()
    if word in WEBHOOK:
        return WEBHOOK[word].to_error("slack", response)
    if response.status in (400, 403, 404, 410):
        return refused(_PRODUCT).to_error("slack", response)
    return _status_error(response)


def bot_error(response: WebhookResponse) -> RelayError:
    """Return the error of a Web API response that is not a success."""
    if response.status == 200 and response.payload.get("ok") is False:
        return api_error(str(response.payload.get("error")), response)
    return _status_error(response)


def api_error(word: str, response: WebhookResponse) -> RelayError:
    """Return the error of `error` in a Web API response. Unknown errors are retried."""
    if word in BOT:
        return BOT[word].to_error("slack", response)
    if word in _RATE_LIMITED:
        return throttled("slack", _PRODUCT, response)
    return TemporaryFailure(
        "slack.trouble",
        Localized("Slack did not post the message", "Slack 未能发送该消息"),
        Localized(
            "The response is stored with the attempt. Relay keeps retrying.",
            "Slack 的响应保存在该次尝试中，其间 Relay 会继续重试。",
        ),
        answer=response.summary,
        retry_after=response.retry_after,
    )


def _status_error(response: WebhookResponse) -> RelayError:
    if response.status == 200:
        return unexpected_response("slack", _PRODUCT, response)
    return refusal(response)
