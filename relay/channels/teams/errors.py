"""Error responses of Teams webhooks.

Source: the errors of the request trigger of Azure Logic Apps, which Workflows uses. Old connectors
report errors in a response with status 200: MicrosoftDocs/msteams-docs #400 and #7425.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from relay.channels.known_errors import REPORT_BUG, KnownError, throttled, unexpected_response
from relay.errors import RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.webhook import RETRIED, WebhookResponse, refusal

_PRODUCT = Localized("Teams", " Teams ")
_INNER_STATUS = re.compile(r"HTTP error ([0-9]{3})")

_OTHER = KnownError(
    "refused",
    Localized("Teams refused the message", "Teams 拒绝了该消息"),
    Localized(
        "The response is stored with the attempt. Check the channel's url and the workflow's run "
        "history in Power Automate, then retrigger the message.",
        "Teams 的响应保存在该次尝试中。请检查频道的 url，以及 Power Automate 中该流的运行历史，"
        "然后重新触发该消息。",
    ),
)
_GONE = KnownError(
    "gone",
    Localized(
        "The workflow or its Teams channel does not exist any more, or the URL is wrong",
        "Teams 中的工作流或其频道已不存在，或 URL 有误",
    ),
    Localized(
        "Create a new webhook in Teams (Workflows of the channel, template: post to a channel when "
        "a webhook request is received), copy its URL into the channel's url, then retrigger the "
        "message.",
        "请在 Teams 频道的“工作流”中用“收到 Webhook 请求时发布到频道”模板新建 Webhook，"
        "将其 URL 填入频道的 url，然后重新触发该消息。",
    ),
)
_NOT_ALLOWED = KnownError(
    "not_allowed",
    Localized(
        "The workflow requires authentication; the URL alone is not enough",
        "该工作流要求验证身份，仅凭 URL 不能触发",
    ),
    Localized(
        "In Power Automate open the flow, set the trigger's `Who can trigger the flow` to Anyone, "
        "copy the new URL into the channel's url, then retrigger the message.",
        "请在 Power Automate 中打开该流，将触发器的“谁可以触发该流”设为“任何人”，"
        "重新复制 URL 填入频道的 url，然后重新触发该消息。",
    ),
)
_SIGNATURE = KnownError(
    "wrong_signature",
    Localized(
        "Power Automate rejected the signature in the URL",
        "Power Automate 不接受该 URL 中的签名",
    ),
    Localized(
        "Copy the whole URL of the workflow's trigger, including `sig` at the end, into the "
        "channel's url, then retrigger the message.",
        "请完整复制工作流触发器的 URL（包括末尾的 sig），填入频道的 url，然后重新触发该消息。",
    ),
)
_TURNED_OFF = KnownError(
    "turned_off",
    Localized("The workflow is turned off", "该工作流已关闭"),
    Localized(
        "Turn it on in Power Automate (flows that are not used, or whose owner left, are turned "
        "off automatically), then retrigger the message.",
        "请在 Power Automate 中重新启用该流（长期未用或所有者离职的流会被自动关闭），"
        "然后重新触发该消息。",
    ),
)
_TOO_LARGE = KnownError(
    "too_large",
    Localized("The message is too large for Teams", "该消息超出 Teams 的大小限制"),
    REPORT_BUG,
)

BY_CODE: Mapping[str, KnownError] = {
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
"""`error.code` of Logic Apps; it takes precedence over the status."""

BY_STATUS: Mapping[int, KnownError] = {
    400: _OTHER,
    401: _NOT_ALLOWED,
    403: _OTHER,
    404: _GONE,
    410: _GONE,
    413: _TOO_LARGE,
}


def to_error(response: WebhookResponse) -> RelayError:
    """Return the error of a response that is not a success."""
    inner = _INNER_STATUS.search(response.text) if response.status == 200 else None
    status = int(inner[1]) if inner else response.status
    error: Any = response.payload.get("error")
    code = str(error.get("code")) if isinstance(error, dict) else ""
    known = BY_CODE.get(code) or BY_STATUS.get(status)
    if known:
        return known.to_error("teams", response)
    if inner and status == 429:
        return throttled("teams", _PRODUCT, response)
    if inner or status == 412:
        return TemporaryFailure(
            "teams.trouble",
            Localized(
                f"Teams could not post the message ({status})", f"Teams 未能发送该消息（{status}）"
            ),
            RETRIED,
            answer=response.summary,
            retry_after=response.retry_after,
        )
    if status < 300:
        return unexpected_response("teams", _PRODUCT, response)
    return refusal(response)
