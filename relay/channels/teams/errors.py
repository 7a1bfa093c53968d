"""What the answers mean that Teams gives when it does not take a message, and what to do then.

Source: the errors of Azure Logic Apps' request trigger, which is Workflows' too; and, for the old
connectors, which tell of errors in a 200, MicrosoftDocs/msteams-docs #400 and #7425.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from relay.errors import PermanentFailure, RelayError, TemporaryFailure, Throttled
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse, refusal

_INNER_STATUS = re.compile(r"HTTP error ([0-9]{3})")


class Refusal(NamedTuple):
    """An answer after which waiting does not help."""

    code: str
    message: Localized
    hint: Localized


_AGAIN = Localized("Relay posts the message again by itself.", "Relay 会自动重新发送。")
_NEW_URL = Localized(
    "Make a new webhook in Teams (the channel's Workflows, template: post to a channel when a "
    "webhook request is received), put its URL into the channel's url, and retrigger the message.",
    "请在 Teams 频道的“工作流”中用“收到 Webhook 请求时发布到频道”模板新建 Webhook，"
    "将其 URL 填入频道的 url，然后重新触发该消息。",
)
_OTHER = Refusal(
    "teams.refused",
    Localized("Teams refused the message", "Teams 拒绝了该消息"),
    Localized(
        "Its answer is kept with the attempt. Check the channel's url and the workflow's run "
        "history in Power Automate, then retrigger the message.",
        "Teams 的应答保存在该次尝试中。请检查频道的 url，以及 Power Automate 中该流的运行历史，"
        "然后重新触发该消息。",
    ),
)
_GONE = Refusal(
    "teams.gone",
    Localized(
        "The workflow or its channel in Teams is gone, or the URL is wrong",
        "Teams 中的工作流或其频道已不存在，或 URL 有误",
    ),
    _NEW_URL,
)
_NOT_ALLOWED = Refusal(
    "teams.not_allowed",
    Localized(
        "The workflow wants to know who posts: it does not take what just knows its URL",
        "该工作流要求验证身份，仅凭 URL 不能触发",
    ),
    Localized(
        "In Power Automate open the flow, set its trigger's `Who can trigger the flow` to Anyone, "
        "copy its URL anew into the channel's url, and retrigger the message.",
        "请在 Power Automate 中打开该流，将触发器的“谁可以触发该流”设为“任何人”，"
        "重新复制 URL 填入频道的 url，然后重新触发该消息。",
    ),
)
_SIGNATURE = Refusal(
    "teams.wrong_signature",
    Localized(
        "Power Automate does not take the signature in the URL",
        "Power Automate 不接受该 URL 中的签名",
    ),
    Localized(
        "Copy the whole URL of the workflow's trigger, `sig` at its end included, into the "
        "channel's url; then retrigger the message.",
        "请完整复制工作流触发器的 URL（包括末尾的 sig），填入频道的 url，然后重新触发该消息。",
    ),
)
_TURNED_OFF = Refusal(
    "teams.turned_off",
    Localized("The workflow is turned off", "该工作流已关闭"),
    Localized(
        "Turn it on again in Power Automate (flows that nobody uses, or whose owner left, are "
        "turned off by themselves); then retrigger the message.",
        "请在 Power Automate 中重新启用该流（长期未用或所有者离职的流会被自动关闭），"
        "然后重新触发该消息。",
    ),
)
_TOO_LARGE = Refusal(
    "teams.too_large",
    Localized("The message is too large for Teams", "该消息超出 Teams 的大小限制"),
    Localized(
        "This is a fault of Relay: please report it with the delivery's id.",
        "这是 Relay 的缺陷，请附上投递编号反馈给我们。",
    ),
)

_BY_WORD: Mapping[str, Refusal] = {
    "DirectApiAuthorizationRequired": _NOT_ALLOWED,
    "DirectApiInvalidAuthorizationScheme": _NOT_ALLOWED,
    "MisMatchingOAuthClaims": _NOT_ALLOWED,
    "AuthorizationFailed": _SIGNATURE,
    "InvalidSignature": _SIGNATURE,
    "WorkflowTriggerIsNotEnabled": _TURNED_OFF,
    "WorkflowNotFound": _GONE,
    "WorkflowTriggerNotFound": _GONE,
    "WorkflowTriggerVersionNotFound": _GONE,
}
"""The words of Logic Apps in `error.code`, whatever the status."""

_BY_STATUS: Mapping[int, Refusal] = {
    400: _OTHER,
    401: _NOT_ALLOWED,
    403: _OTHER,
    404: _GONE,
    410: _GONE,
    413: _TOO_LARGE,
}


def failure(answer: WebhookResponse) -> RelayError:
    """The error in an answer that is no success."""
    inner = _INNER_STATUS.search(answer.text) if answer.status == 200 else None
    status = int(inner[1]) if inner else answer.status
    known = _BY_WORD.get(_word(answer.payload)) or _BY_STATUS.get(status)
    if known:
        return PermanentFailure(*known, answer=answer.summary)
    if inner and status == 429:
        return Throttled(
            "teams.busy",
            Localized("Teams asks us to wait", "Teams 要求稍后再发"),
            _AGAIN,
            answer=answer.summary,
            retry_after=answer.retry_after,
        )
    if inner or status == 412:
        return TemporaryFailure(
            "teams.trouble",
            Localized(
                f"Teams could not post the message ({status})", f"Teams 未能发送该消息（{status}）"
            ),
            _AGAIN,
            answer=answer.summary,
            retry_after=answer.retry_after,
        )
    return _not_teams(answer) if status < 300 else refusal(answer)


def _word(said: Json) -> str:
    error: Any = said.get("error")
    return str(error.get("code")) if isinstance(error, dict) else ""


def _not_teams(answer: WebhookResponse) -> RelayError:
    return TemporaryFailure(
        "teams.not_ok",
        Localized(
            f"The url answers {answer.status}, but not as Teams does when it takes a message",
            f"该 url 返回了 {answer.status}，但并非 Teams 接受消息时的应答",
        ),
        Localized(
            "Check that the channel's url is Teams' and that no proxy answers in its place; "
            "Relay tries again meanwhile.",
            "请检查频道的 url 是否为 Teams 地址，以及是否有代理代为应答；其间 Relay 会继续重试。",
        ),
        answer=answer.summary,
    )
