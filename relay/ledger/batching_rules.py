"""Quiet: when a channel may be told, and when many messages become one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from relay.config.load import ChannelSettings
from relay.config.validators import Hours
from relay.model import Json, Localized, Problem

MINUTE = timedelta(minutes=1)
"""The time within which more than `burst` messages are many."""

SOON = timedelta(seconds=2)
"""Until it is asked again whether there is room, where that hangs on posts under way."""


@dataclass(frozen=True, slots=True)
class RecentPosts:
    """What a channel was told within the last minute, and what it is being told now.

    `posted`: when each post was done, the newest first; `digest`: when the last digest among them
    was; `under_way`: how many are being posted, `digest_under_way`: a digest is among those.
    `working`: the service took what was posted last, or refused it for good.
    """

    posted: Sequence[datetime] = ()
    digest: datetime | None = None
    under_way: int = 0
    digest_under_way: bool = False
    working: bool = True


def is_batchable(type_: str) -> bool:
    """Whether these rules are for messages of that type; that a target is down is told at once."""
    return type_ == "digest" or type_.startswith("import.")


def is_urgent(message: Mapping[str, Any], settings: ChannelSettings) -> bool:
    """Whether a message is told in quiet hours too; a recovery is where its failure was."""
    body: Mapping[str, Any] = message["body"]
    if message["type"] == "digest":
        results = set(body["results"])
        recovered = any(one.get("recovered") for one in body["deliveries"])
    else:
        results = {message["type"].rpartition(".")[2]}
        recovered = bool(body.get("recovered"))
    return not results.isdisjoint(settings.urgent) or (recovered and "failed" in settings.urgent)


def summarize_message(message: Mapping[str, Any] | None) -> Json | None:
    """What lists say of a message: its type, and how many a digest tells of; None: it is none."""
    if message is None:
        return None
    count = message["body"].get("count") if message["type"] == "digest" else None
    return {"type": message["type"], "count": count}


def quiet_until(settings: ChannelSettings, now: datetime) -> datetime | None:
    """When the channel's quiet hours end in which `now` is; None: it is in none.

    By the clock on the wall there, minute by minute, so that its changes need no thought.
    """
    hours = settings.quiet_hours
    if hours is None:
        return None
    zone, moment = ZoneInfo(settings.timezone), now
    while _is_within(hours, moment.astimezone(zone).time()):
        moment = moment.replace(second=0, microsecond=0) + MINUTE
    return moment if moment > now else None


def _is_within(hours: Hours, clock: time) -> bool:
    if hours.start < hours.end:
        return hours.start <= clock < hours.end
    return clock >= hours.start or clock < hours.end


def next_free_slot(lately: RecentPosts, burst: int, now: datetime) -> datetime | None:
    """From when on one more message may be posted; None: now.

    At most `burst` within any minute, and nothing for a minute after a digest.
    """
    full = [lately.digest + MINUTE] if lately.digest else []
    if len(lately.posted) >= burst:
        full.append(lately.posted[burst - 1] + MINUTE)
    if full:
        return max(full)
    if lately.digest_under_way or len(lately.posted) + lately.under_way >= burst:
        return now + SOON
    return None


def should_batch(lately: RecentPosts, burst: int, waiting: int) -> bool:
    """Whether a message and the `waiting` others are told in one."""
    return waiting > 0 and len(lately.posted) + lately.under_way + waiting + 1 > burst


def in_quiet_hours(settings: ChannelSettings, until: datetime) -> Problem:
    """Why a message waits for the end of quiet hours."""
    when = _clock(settings, until, "%H:%M")
    return Problem(
        "message.quiet_hours",
        Localized(
            f"The channel has quiet hours: it is told at {when}",
            f"该频道处于免打扰时段，将于 {when} 发出",
        ),
        Localized(
            "What is told at once is named in the channel's `urgent`; retrigger the message to "
            "post it now.",
            "频道的 urgent 决定哪些结果立即告知；重新触发该消息可立即发出。",
        ),
    )


def among_many(settings: ChannelSettings, until: datetime) -> Problem:
    """Why a message waits after many others."""
    when = _clock(settings, until, "%H:%M:%S")
    return Problem(
        "message.burst",
        Localized(
            f"Many messages came within a minute: what waits is told together at {when}",
            f"一分钟内消息过多，等待中的消息将于 {when} 合并发出",
        ),
        Localized(
            "The channel's `burst` is how many are told one by one; 0: all of them.",
            "频道的 burst 决定多少条以内逐条发出；0 表示始终逐条发出。",
        ),
    )


def _clock(settings: ChannelSettings, moment: datetime, form: str) -> str:
    return f"{moment.astimezone(ZoneInfo(settings.timezone)):{form}} ({settings.timezone})"
