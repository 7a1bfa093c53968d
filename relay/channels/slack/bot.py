"""Client of Slack's Web API for a bot: posts, replies in threads, marks earlier messages.

Source: docs.slack.dev, chat.postMessage, chat.update, auth.test, conversations.info.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from relay.channels.card import plain
from relay.channels.contract import Posted
from relay.channels.slack.errors import api_error, bot_error
from relay.errors import PermanentFailure
from relay.model import Json
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, WebhookResponse

API = "https://slack.com/api"

_THREAD = re.compile(r"([A-Z][A-Z0-9]{1,40}):([0-9]{1,20}\.[0-9]{1,10})")
_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{6,40}")
_METHODS = ("chat.postMessage", "chat.update", "auth.test", "conversations.info")


class Bot:
    """Posts to a Slack channel as a bot. Thread-safe."""

    def __init__(
        self, outbound: HttpClientFactory, token: str, channel: str, api: str = API
    ) -> None:
        self._channel = channel
        self._authorization = f"Bearer {token}"
        self._posters = {name: Poster(outbound, f"{api}/{name}", (token,)) for name in _METHODS}

    def post(self, body: Json, thread: str | None = None, *, broadcast: bool = False) -> Posted:
        """Post `blocks` and `text`, as a reply if the thread still exists.

        `broadcast`: also show the reply in the channel. The returned `thread` is "channel:ts" of
        the first message of the thread, also for a reply: Slack does not nest threads.
        """
        parent = _THREAD.fullmatch(thread or "")
        if parent:
            reply = {"channel": parent[1], "thread_ts": parent[2], "reply_broadcast": broadcast}
            try:
                return Posted(_summary(self._call("chat.postMessage", body | reply)), thread)
            except PermanentFailure:
                # The thread or the channel does not exist any more: post to the channel instead.
                # If the bot may not post at all, that call raises the same error.
                pass
        created = self._call("chat.postMessage", body | {"channel": self._channel})
        new_thread = f"{created.get('channel')}:{created.get('ts')}"
        return Posted(_summary(created), new_thread if _THREAD.fullmatch(new_thread) else None)

    def mark(self, thread: str, attachment: Json) -> None:
        """Add an attachment to a message of the bot.

        `text` and `blocks` are absent from the request, so Slack keeps those of the message.
        """
        parent = _THREAD.fullmatch(thread)
        if parent:
            body = {"channel": parent[1], "ts": parent[2], "attachments": [attachment]}
            self._call("chat.update", body)

    def ready(self) -> str:
        """Describe the bot and the channel. Changes nothing."""
        identity = self._query("auth.test", {})
        bot = f"is {_text(identity, 'user')} in {_text(identity, 'team')}"
        if not _CHANNEL_ID.fullmatch(self._channel):
            return f"{bot}; the channel was not checked (needs the id, not the name)"
        try:
            info = self._query("conversations.info", {"channel": self._channel}).get("channel")
        except PermanentFailure as error:
            if error.code != "slack.missing_scope":
                raise
            return f"{bot}; the channel was not checked (needs the scope channels:read)"
        channel: Json = info if isinstance(info, dict) else {}
        if channel.get("is_archived"):
            raise api_error("is_archived", WebhookResponse(200, "is_archived"))
        hint = "" if channel.get("is_member") else ", but is not a member: /invite it"
        return f"{bot}; sees #{_text(channel, 'name')}{hint}"

    def close(self) -> None:
        for poster in self._posters.values():
            poster.close()

    def _call(self, method: str, body: Json) -> Json:
        return self._send(method, json.dumps(body), "application/json; charset=utf-8")

    def _query(self, method: str, arguments: dict[str, str]) -> Json:
        # These methods do not accept JSON.
        return self._send(method, urlencode(arguments), "application/x-www-form-urlencoded")

    def _send(self, method: str, body: str, content_type: str) -> Json:
        headers = {"content-type": content_type, "authorization": self._authorization}
        response = self._posters[method].post(body.encode("ascii"), headers)
        if response.status == 200 and response.payload.get("ok") is True:
            return response.payload
        raise bot_error(response)


def _summary(created: Json) -> str:
    return f"200 ok, ts {plain(str(created.get('ts')), 40)}"


def _text(body: Json, key: str) -> str:
    value: Any = body.get(key)
    return plain(str(value or "?"), 80)
