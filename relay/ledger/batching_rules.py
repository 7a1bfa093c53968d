"""Rules for quiet hours and digests: when a channel receives messages. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from relay.config.load import ChannelSettings
from relay.config.validators import Hours
from relay.model import Json, Localized, Problem

MINUTE = timedelta(minutes=1)
"""The period that `burst` applies to."""

RECHECK = timedelta(seconds=2)
"""Delay until the next decision, if it depends on posts that are running."""


@dataclass(frozen=True, slots=True)
class RecentPosts:
    """The posts to a channel within the last minute, and those that are running.

    `posted`: the end of each post, newest first; `digest`: the end of the last digest among them;
    `under_way`: the number of running posts, `digest_under_way`: a digest is among them.
    `working`: the service accepted the last post, or rejected it permanently.
    """

    posted: Sequence[datetime] = ()
    digest: datetime | None = None
    under_way: int = 0
    digest_under_way: bool = False
    working: bool = True


def is_batchable(type_: str) -> bool:
    """Return whether these rules apply to a message type.

    They do not apply to messages about a target that is down: these are urgent.
    """
    return type_ == "digest" or type_.startswith("import.")


def is_urgent(message: Mapping[str, Any], settings: ChannelSettings) -> bool:
    """Return whether a message is posted during quiet hours; a recovery counts as a failure."""
    body: Mapping[str, Any] = message["body"]
    if message["type"] == "digest":
        results = set(body["results"])
        recovered = any(delivery.get("recovered") for delivery in body["deliveries"])
    else:
        results = {message["type"].rpartition(".")[2]}
        recovered = bool(body.get("recovered"))
    return not results.isdisjoint(settings.urgent) or (recovered and "failed" in settings.urgent)


def summarize_message(message: Mapping[str, Any] | None) -> Json | None:
    """Return the type of a message and the size of a digest, for lists."""
    if message is None:
        return None
    count = message["body"].get("count") if message["type"] == "digest" else None
    return {"type": message["type"], "count": count}


def without_deliveries(body: Json, delivery_ids: Collection[str]) -> Json | None:
    """Return the body of a digest without these deliveries, or None if none is left."""
    left = [entry for entry in body["deliveries"] if entry["delivery"] not in delivery_ids]
    if not left:
        return None
    counts = Counter(entry["result"] for entry in left)
    results = {name: counts[name] for name in body["results"] if counts[name]}
    return {**body, "count": len(left), "results": results, "deliveries": left}


def quiet_until(settings: ChannelSettings, now: datetime) -> datetime | None:
    """Return the end of the current quiet hours, or None outside of quiet hours.

    Steps through the local time minute by minute, which handles daylight saving time.
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


def next_free_slot(recent: RecentPosts, burst: int, now: datetime) -> datetime | None:
    """Return when another message may be posted, or None for now.

    The limits are `burst` messages within any minute, and none for a minute after a digest.
    """
    limits = [recent.digest + MINUTE] if recent.digest else []
    if len(recent.posted) >= burst:
        limits.append(recent.posted[burst - 1] + MINUTE)
    if limits:
        return max(limits)
    if recent.digest_under_way or len(recent.posted) + recent.under_way >= burst:
        return now + RECHECK
    return None


def should_batch(recent: RecentPosts, burst: int, waiting: int) -> bool:
    """Return whether a message and `waiting` others are merged into a digest."""
    return waiting > 0 and len(recent.posted) + recent.under_way + waiting + 1 > burst


def quiet_hours_problem(settings: ChannelSettings, until: datetime) -> Problem:
    """Return why a message waits for the end of quiet hours."""
    when = _local_time(settings, until, "%H:%M")
    return Problem(
        "message.quiet_hours",
        Localized(
            f"The channel has quiet hours: the message is posted at {when}",
            f"该频道处于免打扰时段，消息将于 {when} 发出",
        ),
        Localized(
            "Results in the channel's `urgent` are posted at once; retrigger the message to post "
            "it now.",
            "频道的 urgent 中的结果会立即发出；重新触发该消息可立即发出。",
        ),
    )


def burst_problem(settings: ChannelSettings, until: datetime) -> Problem:
    """Return why a message waits after many others."""
    when = _local_time(settings, until, "%H:%M:%S")
    return Problem(
        "message.burst",
        Localized(
            f"Many messages within a minute: the waiting ones are posted together at {when}",
            f"一分钟内消息过多，等待中的消息将于 {when} 合并发出",
        ),
        Localized(
            "The channel's `burst` is how many are posted separately; 0: all of them.",
            "频道的 burst 决定多少条以内逐条发出；0 表示始终逐条发出。",
        ),
    )


def _local_time(settings: ChannelSettings, moment: datetime, format_: str) -> str:
    return f"{moment.astimezone(ZoneInfo(settings.timezone)):{format_}} ({settings.timezone})"
