"""Speaks Slack's Web API as a bot: posts, replies in threads, marks what it posted before.

Source: docs.slack.dev, chat.postMessage, chat.update, auth.test, conversations.info.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from relay.channels.card import plain
from relay.channels.contract import Posted
from relay.channels.slack.errors import not_slack, of_bot
from relay.errors import PermanentFailure, RelayError
from relay.model import Json
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, WebhookResponse, refusal

API = "https://slack.com/api"

_THREAD = re.compile(r"([A-Z][A-Z0-9]{1,40}):([0-9]{1,20}\.[0-9]{1,10})")
_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{6,40}")
_METHODS = ("chat.postMessage", "chat.update", "auth.test", "conversations.info")


class Bot:
    """A bot that posts to one Slack channel. Used by many threads at once."""

    def __init__(
        self, outbound: HttpClientFactory, token: str, channel: str, api: str = API
    ) -> None:
        self._channel = channel
        self._authorization = f"Bearer {token}"
        self._posters = {name: Poster(outbound, f"{api}/{name}", (token,)) for name in _METHODS}

    def post(self, told: Json, thread: str | None = None, *, broadcast: bool = False) -> Posted:
        """Posts `blocks` and `text`, into the thread where it is there.

        `broadcast`: a reply is also shown in the channel. Its `thread` is "channel:ts" of the
        message at the thread's top, never a reply's own: Slack has threads of one level only.
        """
        found = _THREAD.fullmatch(thread or "")
        if found:
            reply = {"channel": found[1], "thread_ts": found[2], "reply_broadcast": broadcast}
            try:
                return Posted(_words(self._posted(told | reply)), thread)
            except PermanentFailure:
                # The thread, or its channel, is gone: that must not cost the message. Where it is
                # the bot that may not post, posting to the channel says so.
                pass
        said = self._posted(told | {"channel": self._channel})
        place = f"{said.get('channel')}:{said.get('ts')}"
        return Posted(_words(said), place if _THREAD.fullmatch(place) else None)

    def mark(self, thread: str, attachment: Json) -> RelayError | None:
        """Puts an attachment beneath a message that the bot posted; the error if it could not.

        Without `text` and `blocks` Slack keeps those that the message has.
        """
        found = _THREAD.fullmatch(thread)
        if not found:
            return None
        told = {"channel": found[1], "ts": found[2], "attachments": [attachment]}
        try:
            self._call("chat.update", json.dumps(told), "application/json; charset=utf-8")
        except RelayError as error:
            return error
        return None

    def ready(self) -> str:
        """Who the bot is, and what it sees of the channel. Changes nothing."""
        me = self._asked("auth.test", {})
        who = f"is {_name(me, 'user')} in {_name(me, 'team')}"
        if not _CHANNEL_ID.fullmatch(self._channel):
            return f"{who}; only a channel's id can be looked up, not its name"
        try:
            found = self._asked("conversations.info", {"channel": self._channel}).get("channel")
        except PermanentFailure as error:
            if error.code != "slack.missing_scope":
                raise
            return f"{who}; may not look at the channel (scope channels:read)"
        channel: Json = found if isinstance(found, dict) else {}
        if channel.get("is_archived"):
            raise of_bot("is_archived", WebhookResponse(200, "is_archived"))
        member = "" if channel.get("is_member") else ", of which it is no member: /invite it"
        return f"{who}; sees #{_name(channel, 'name')}{member}"

    def close(self) -> None:
        for poster in self._posters.values():
            poster.close()

    def _posted(self, told: Json) -> Json:
        return self._call(
            "chat.postMessage", json.dumps(told), "application/json; charset=utf-8"
        ).payload

    def _asked(self, method: str, arguments: dict[str, str]) -> Json:
        # These take no JSON.
        return self._call(method, urlencode(arguments), "application/x-www-form-urlencoded").payload

    def _call(self, method: str, body: str, content_type: str) -> WebhookResponse:
        headers = {"content-type": content_type, "authorization": self._authorization}
        answer = self._posters[method].post(body.encode("ascii"), headers)
        if answer.status == 200 and answer.payload.get("ok") is True:
            return answer
        if answer.status == 200 and answer.payload.get("ok") is False:
            raise of_bot(str(answer.payload.get("error")), answer)
        raise not_slack(answer) if answer.status == 200 else refusal(answer)


def _words(said: Json) -> str:
    return f"200 ok, ts {plain(str(said.get('ts')), 40)}"


def _name(said: Json, key: str) -> str:
    value: Any = said.get(key)
    return plain(str(value or "?"), 80)
