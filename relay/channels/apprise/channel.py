"""Posts messages through Apprise, to the many services that have no channel of their own here.

Source: the documentation of Apprise (github.com/caronc/apprise), version 2.3. It is an extra:
`pip install "ziprelay[apprise]"`, imported when the first message is posted.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

from pydantic import Field, SecretStr, field_validator

import relay.channels.contract
from relay.channels.card import Card
from relay.channels.contract import Message, Posted
from relay.config.load import ChannelSettings
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Json, Localized
from relay.outbound.responses import cleaned
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import redactor_for

OWN_CHANNELS: Mapping[str, str] = {
    "feishu": "feishu",
    "lark": "lark",
    "dingtalk": "dingtalk",
    "wecombot": "wecom",
}
"""Services for which Apprise calls an error code in a 200 a success: scheme -> our own kind."""

_LOCAL = ("dbus", "gnome", "kde", "glib", "qt", "macosx", "windows", "syslog")
_UNHEARD: Mapping[str, str] = {
    "rsyslog": "answers nothing, so that a lost message would count as told",
    "xmpp": "connects where Relay cannot refuse private addresses",
    "xmpps": "connects where Relay cannot refuse private addresses",
}
"""Services for which Apprise cannot say whether they took it, or Relay cannot guard the way."""
_TYPES = {"good": "success", "bad": "failure", "neutral": "info", "warning": "warning"}
_WORD_JOINER = "\u2060"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_MENTION = re.compile(r"@(?=\w)|(?<=<)(?=[!@#&])")
_ADDRESS = re.compile(r"(?<=\w)(?=://)|(?<=\bwww)(?=\.)", re.IGNORECASE)

_WAYS_OUT = ("socket.connect", "socket.sendto", "socket.sendmsg")

_guard: ContextVar[_Guard | None] = ContextVar("_guard", default=None)
_hooked = threading.Lock()


class AppriseSettings(ChannelSettings):
    """Where Apprise posts to."""

    url: SecretStr = Field(
        description="an Apprise URL such as matrixs://..., mailtos://..., tgram://...; a credential"
    )

    @field_validator("url")
    @classmethod
    def _fits(cls, url: SecretStr) -> SecretStr:
        found = _SCHEME.match(url.get_secret_value())
        if not found:
            raise ValueError("should be an Apprise URL such as mailtos://user:password@host")
        scheme = found[1].lower()
        if own := OWN_CHANNELS.get(scheme):
            raise ValueError(
                f'Apprise takes this service\'s errors for successes: use kind = "{own}"'
            )
        if scheme in _LOCAL:
            raise ValueError("should be a service that a team can read, not this machine's own")
        if reason := _UNHEARD.get(scheme):
            raise ValueError(f"should be another service: this one {reason}")
        return url


class Channel(relay.channels.contract.Channel):
    """One Apprise URL. Services show no ids, so the footer names the delivery of a repeat."""

    Settings: ClassVar[type[ChannelSettings]] = AppriseSettings
    needs: ClassVar[tuple[str, ...]] = ("apprise",)

    def __init__(self, name: str, settings: AppriseSettings, outbound: HttpClientFactory) -> None:
        super().__init__(name, settings, outbound)
        self._url = settings.url.get_secret_value()
        self._redactor = redactor_for(self._url)
        self._lock = threading.Lock()
        self._apprise: Any = None

    def preview(self, message: Message) -> Json:
        """What Apprise is given; how a service shows it, Apprise decides."""
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """Success is what Apprise calls one. It tells no codes, so that nothing of it is final but
        an address that may not be reached."""
        told = self.preview(message)
        opened = self._opened()
        said: list[str] = []
        guard = _Guard(self.outbound)
        with _guarded(guard):
            result = opened.notify(
                **told,
                body_format="text",
                log_callback=lambda entry, _: said.append(str(entry.message)),
                log_level=logging.WARNING,
            )
        if guard.refused:
            raise guard.refused
        answer = self._redactor.known(cleaned(" ".join(said)))
        if result:
            return Posted(answer or "ok")
        raise TemporaryFailure(
            "apprise.not_posted",
            Localized("Apprise could not post the message", "Apprise 未能发送该消息"),
            Localized(
                "What it said is kept with the attempt. Check the channel's url and the service; "
                "Relay tries again meanwhile.",
                "其输出保存在该次尝试中。请检查频道的 url 与对方服务；其间 Relay 会继续重试。",
            ),
            answer=answer,
        )

    def ready(self) -> str | None:
        """Whether Apprise understands the URL: it has no way to try without posting."""
        [one] = self._opened()
        return f"{one.service_name}: the url is understood (nothing was posted)"

    def _opened(self) -> Any:
        with self._lock:
            if self._apprise is None:
                self._apprise = _made(self._url)
            return self._apprise


def render(shown: Card) -> Json:
    """The card as Apprise's title, body (plain text) and notify_type."""
    lines = [f"{fact.label}: {_harmless(fact.value)}" for fact in shown.facts]
    if shown.problem:
        code = f" ({_harmless(shown.code)})" if shown.code else ""
        lines.append(f"{shown.problem.label}: {_harmless(shown.problem.value)}{code}")
    if shown.advice:
        lines.append(f"{shown.advice.label}: {_harmless(shown.advice.value)}")
    for line in shown.lines:
        where = f" {line.url}" if line.url else ""
        lines.append(f"{line.sign} {_harmless(line.name)}: {_harmless(line.text)}{where}")
    lines += [shown.more] if shown.more else []
    lines += [f"{link.label}: {link.url}" for link in shown.links]
    lines.append(_harmless(shown.footer))
    return {
        "title": f"{shown.sign} {_harmless(shown.title)}: {_harmless(shown.name)}",
        "body": "\n".join(lines),
        "notify_type": _TYPES[shown.tone],
    }


def _harmless(text: str) -> str:
    # Which markup a service knows is not known here: mentions and links are broken for all.
    return _ADDRESS.sub(_WORD_JOINER, _MENTION.sub(lambda found: found[0] + _WORD_JOINER, text))


def _made(url: str) -> Any:
    import apprise  # noqa: PLC0415 - an optional SDK, slow to import

    # Its log quotes what it sends and where to; what an attempt keeps is redacted.
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        http_redirects=False,
        allow_templates=False,
        pgp_autogen=False,
        pem_autogen=False,
    )
    made = apprise.Apprise(asset=asset)
    place = apprise.Apprise.instantiate(url, asset=asset)
    if place is None or not made.add(place):
        raise PermanentFailure(
            "apprise.url",
            Localized(
                "Apprise does not understand the channel's url", "Apprise 无法识别该频道的 url"
            ),
            Localized(
                "See Apprise's page for the service, correct the url and retrigger the message.",
                "请参阅 Apprise 对应服务的说明，修正 url 后重新触发该消息。",
            ),
        )
    # A service's native https address leads to it as well as its scheme does.
    own = next((scheme for scheme in OWN_CHANNELS if scheme == place.secure_protocol), None)
    if own:
        raise PermanentFailure(
            "apprise.own_channel",
            Localized(
                "Apprise takes this service's errors for successes; Relay has a channel of its own",
                "Apprise 会把该服务返回的错误当作成功；Relay 自带该服务的频道",
            ),
            Localized(
                f'Use kind = "{OWN_CHANNELS[own]}".', f'请改用 kind = "{OWN_CHANNELS[own]}"。'
            ),
        )
    # Its URLs have options (redirect=, verify=) that go before the asset.
    place.redirects, place.verify_certificate = False, True
    return made


class _Guard:
    """Refuses addresses that are not public; `refused` is the error, for Apprise swallows it."""

    def __init__(self, outbound: HttpClientFactory) -> None:
        self._outbound = outbound
        self.refused: RelayError | None = None

    def look(self, address: Any) -> None:
        if not isinstance(address, tuple):
            return  # a socket of this machine's own, such as the resolver's
        host = str(address[0])
        try:
            for found in _addresses(host):
                self._outbound.guard(host, found)
        except RelayError as error:
            self.refused = error
            # The error of a system: libraries close their sockets at that, and at no other.
            raise PermissionError(errno.EACCES, error.code) from None


def _addresses(host: str) -> list[str]:
    """What a socket may connect to that is given this; most are given an address."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return [str(one[4][0]) for one in socket.getaddrinfo(host, None)]


@contextmanager
def _guarded(guard: _Guard) -> Iterator[None]:
    """What is done inside, in this thread or another, connects to nothing that the guard refuses.

    Apprise makes its own connections, by several libraries: only the interpreter sees them all.
    """
    _hook()
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


def _hook() -> None:
    if _hooked.acquire(blocking=False):  # never released: a hook cannot be taken out again
        sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _WAYS_OUT and (guard := _guard.get()):
        guard.look(arguments[1])
