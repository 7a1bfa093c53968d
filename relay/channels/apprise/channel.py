"""Posts messages through Apprise, to the many services without a channel of their own.

Source: the documentation of Apprise (github.com/caronc/apprise), version 2.3. Apprise is an extra,
`pip install "ziprelay[apprise]"`, and is imported when the first message is posted.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

from relay.channels import contract
from relay.channels.apprise.card import render
from relay.channels.apprise.guard import ConnectionGuard, guarded
from relay.channels.contract import Message, Posted
from relay.config.load import ChannelSettings
from relay.config.text import excerpt
from relay.errors import PermanentFailure, TemporaryFailure
from relay.model import Json, Localized
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import redactor_for

OWN_CHANNELS: Mapping[str, str] = {
    "feishu": "feishu",
    "lark": "lark",
    "dingtalk": "dingtalk",
    "wecombot": "wecom",
}
"""Services whose error codes in a 200 Apprise reports as a success: URL scheme -> Relay's kind."""

_LOCAL = ("dbus", "gnome", "kde", "glib", "qt", "macosx", "windows", "syslog")
_UNSUPPORTED: Mapping[str, str] = {
    "rsyslog": "sends no response, so that a lost message would count as posted",
    "xmpp": "opens connections that Relay cannot check for private addresses",
    "xmpps": "opens connections that Relay cannot check for private addresses",
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


class AppriseSettings(ChannelSettings):
    """Settings of an Apprise service."""

    url: SecretStr = Field(
        description="an Apprise URL such as matrixs://..., mailtos://..., tgram://...; a credential"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        match = _SCHEME.match(url.get_secret_value())
        if not match:
            raise ValueError("should be an Apprise URL such as mailtos://user:password@host")
        scheme = match[1].lower()
        if own := OWN_CHANNELS.get(scheme):
            raise ValueError(
                f'Apprise reports errors of this service as successes: use kind = "{own}"'
            )
        if scheme in _LOCAL:
            raise ValueError("should be a service that a team can read, not this machine's own")
        if reason := _UNSUPPORTED.get(scheme):
            raise ValueError(f"should be another service: this one {reason}")
        return url


class Channel(contract.Channel):
    """An Apprise URL."""

    Settings: ClassVar[type[ChannelSettings]] = AppriseSettings
    needs: ClassVar[tuple[str, ...]] = ("apprise",)

    def __init__(self, name: str, settings: AppriseSettings, outbound: HttpClientFactory) -> None:
        super().__init__(name, settings, outbound)
        self._url = settings.url.get_secret_value()
        self._redactor = redactor_for(self._url)
        self._lock = threading.Lock()
        self._apprise: Any = None

    def preview(self, message: Message) -> Json:
        """Return the arguments for Apprise, which formats them for the service."""
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """Post the message. Apprise decides whether that succeeded.

        Apprise reports no error codes, so only a private address is a permanent failure.
        """
        body = self.preview(message)
        client = self._client()
        logged: list[str] = []
        guard = ConnectionGuard(self.outbound)
        with guarded(guard):
            succeeded = client.notify(
                **body,
                body_format="text",
                log_callback=lambda entry, _: logged.append(str(entry.message)),
                log_level=logging.WARNING,
            )
        if guard.refused:
            raise guard.refused
        answer = self._redactor.known(excerpt(" ".join(logged)))
        if succeeded:
            return Posted(answer or "ok")
        raise TemporaryFailure(
            "apprise.not_posted",
            Localized("Apprise could not post the message", "Apprise 未能发送该消息"),
            Localized(
                "The output of Apprise is stored with the attempt. Check the channel's url and the "
                "service. Relay keeps retrying.",
                "Apprise 的输出保存在该次尝试中。请检查频道的 url 与对方服务；"
                "其间 Relay 会继续重试。",
            ),
            answer=answer,
        )

    def ready(self) -> str | None:
        """Check that Apprise can parse the URL; more cannot be tested without posting."""
        [service] = self._client()
        return f"{service.service_name}: the url is valid (nothing was posted)"

    def _client(self) -> Any:
        with self._lock:
            if self._apprise is None:
                self._apprise = _build_client(self._url)
            return self._apprise


def _build_client(url: str) -> Any:
    import apprise  # noqa: PLC0415 - an optional SDK, slow to import

    # The log of Apprise contains messages and addresses. Attempts store a redacted excerpt.
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        http_redirects=False,
        allow_templates=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    client = apprise.Apprise(asset=asset)
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None or not client.add(service):
        raise PermanentFailure(
            "apprise.url",
            Localized("Apprise cannot parse the channel's url", "Apprise 无法识别该频道的 url"),
            Localized(
                "See Apprise's page for the service, correct the url, then retrigger the message.",
                "请参阅 Apprise 对应服务的说明，修正 url 后重新触发该消息。",
            ),
        )
    # Apprise also accepts the https address of a service instead of the scheme.
    own = next((scheme for scheme in OWN_CHANNELS if scheme == service.secure_protocol), None)
    if own:
        raise PermanentFailure(
            "apprise.own_channel",
            Localized(
                "Apprise reports errors of this service as successes; Relay has its own channel",
                "Apprise 会把该服务返回的错误当作成功；Relay 自带该服务的频道",
            ),
            Localized(
                f'Use kind = "{OWN_CHANNELS[own]}".', f'请改用 kind = "{OWN_CHANNELS[own]}"。'
            ),
        )
    # Options in the URL (redirect=, verify=) take precedence over the asset.
    service.redirects, service.verify_certificate = False, True
    return client
