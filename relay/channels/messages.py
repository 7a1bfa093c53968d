"""An import's outcome becomes the messages that tell of it: delivery in, message bodies out. Pure.

The body is the `data` of the generic webhook (interface.md §5). Where it holds sentences it holds
them in both languages; `in_language` picks one when the message is posted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from relay.config.load import Settings
from relay.config.routing import names
from relay.errors import RelayError
from relay.model import (
    Claim,
    Delivery,
    Event,
    Failed,
    Json,
    Kind,
    Localized,
    NewMessage,
    Outcome,
    Retry,
    Skipped,
    Succeeded,
)

REASONS: Mapping[str, Localized] = {
    "superseded": Localized(
        "A newer version of the object was announced; that one is imported instead.",
        "该对象已有更新的版本，将改为导入新版本。",
    ),
    "gone": Localized(
        "The object is no longer in the bucket.",
        "该对象已不在存储桶中。",
    ),
    "unchanged": Localized(
        "The target already holds exactly this code.",
        "目标端已有完全相同的代码。",
    ),
    "no route": Localized(
        "No route of relay.toml takes this object.",
        "relay.toml 中没有匹配该对象的路由。",
    ),
}
"""Why a delivery was skipped, for people."""

_LONGEST_SENTENCE = 2000
_LONGEST_LISTED = 300
"""Characters of a sentence in a digest, which may hold a thousand of them."""

_RESULTS = ("failed", "succeeded", "skipped")
_LISTED = (
    *("delivery", "bucket", "key", "version", "target", "func_name", "package"),
    *("recovered", "links"),
)
_DIGEST_SHOWN = 12
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def import_messages(  # noqa: PLR0913, PLR0917 - all that a message tells
    settings: Settings,
    claim: Claim,
    outcome: Outcome,
    now: datetime,
    seconds: float | None = None,
    failures: Mapping[str, Json] = MappingProxyType({}),
) -> list[NewMessage]:
    """The messages that an outcome makes: one for each channel of the delivery that wants it.

    A Retry tells nobody, and so does the outcome of a message. A channel that is not configured
    any more still gets its message: it waits, visibly, for the channel to come back.
    `seconds`: how long the attempt took; without it the time since the delivery was made.
    `failures`: what each channel heard last of this object, where that was a failure, as
    {"failed_at": time, "message": id}; who heard of it hears of the recovery, whatever its `on`.
    """
    result = _result(outcome)
    if result is None or claim.delivery.kind is not Kind.IMPORT:
        return []
    recovered = failures if result == "succeeded" else {}
    wanting = [
        name
        for name in dict.fromkeys(claim.delivery.channels)
        if name not in settings.channels
        or name in recovered
        or result in settings.channels[name].on
    ]
    if not wanting:
        return []
    if seconds is None:
        seconds = (now - claim.delivery.created).total_seconds()
    body = message_body(claim, outcome, seconds, settings.public_url)
    target = settings.targets.get(claim.delivery.destination)
    body["region"] = getattr(target, "region", None) or body["region"]
    return [
        NewMessage(name, f"import.{result}", {**body, "recovered": recovered.get(name)})
        for name in wanting
    ]


def destination_messages(
    settings: Settings, delivery: Delivery, word: str, outcome: Outcome, now: datetime
) -> list[NewMessage]:
    """The messages that a target is "down", or "up" again: to every channel of its routes.

    `delivery` is the one that showed it, by this outcome. A channel cannot tell of itself, and is
    told where it is told of failures.
    """
    if delivery.kind is not Kind.IMPORT:
        return []
    routes = (route for route in settings.routes if route.target == delivery.destination)
    problem = None
    if word == "down" and isinstance(outcome, Retry | Failed):
        problem = outcome.problem.to_json()
    body: Json = _storable(
        {
            "target": delivery.destination,
            "since": now.isoformat(timespec="seconds"),
            "error": problem and _shortened(problem),
            "delivery": delivery.id,
            "links": page_links(settings.public_url, delivery.id),
        }
    )
    told = dict.fromkeys(channel for route in routes for channel in route.channels)
    return [
        NewMessage(name, f"target.{word}", body)
        for name in told
        if name not in settings.channels or "failed" in settings.channels[name].on
    ]


def message_body(claim: Claim, outcome: Outcome, seconds: float, public_url: str | None) -> Json:
    """The body of a message about a finished import; sentences are {"en": ..., "zh": ...}."""
    delivery = claim.delivery
    result = outcome.result if isinstance(outcome, Succeeded | Skipped | Failed) else {}
    func_name, package = _names(delivery, claim.event, result)
    digest = result.get("digest")
    body = {
        "delivery": delivery.id,
        "source": delivery.source,
        "route": delivery.route,
        "bucket": delivery.bucket,
        "key": delivery.key,
        "version": delivery.version,
        "size": result.get("size") or (claim.event.object.size if claim.event else None),
        "target": delivery.destination,
        "func_name": func_name,
        "package": package,
        "func_urn": result.get("func_urn"),
        "region": _region(result.get("func_urn")),
        "how": result.get("how") if isinstance(outcome, Succeeded) else None,
        "runtime": result.get("runtime"),
        "digest": digest[:_DIGEST_SHOWN] if isinstance(digest, str) else None,
        "attempts": delivery.attempts,
        "trigger": str(delivery.trigger),
        "duration_seconds": round(max(seconds, 0.0), 3),
        "reason": _reason(outcome),
        "error": _error(outcome),
        "links": page_links(public_url, delivery.id),
    }
    cleaned: Json = _storable(body)
    return cleaned


def digest_body(
    public_url: str | None, digest_id: str, told: Iterable[tuple[datetime, Json]]
) -> Json:
    """The body of the message that tells what many would have: `told` are those, by when they were
    made, as type and body. Failures come first, then what is mended, each by time."""
    by_time = sorted(told, key=lambda one: one[0])
    listed = [_briefly(message) for _, message in by_time]
    counted = Counter(one["result"] for one in listed)
    return {
        "count": len(listed),
        "results": {name: counted[name] for name in _RESULTS if counted[name]},
        "since": by_time[0][0].isoformat(timespec="seconds"),
        "until": by_time[-1][0].isoformat(timespec="seconds"),
        "deliveries": sorted(listed, key=_weight),
        "links": {"deliveries": page_links(public_url, digest_id)["delivery"]},
    }


def _briefly(message: Json) -> Json:
    body = message["body"]
    error, reason = body.get("error"), body.get("reason")
    return {
        **{name: body.get(name) for name in _LISTED},
        "result": message["type"].rpartition(".")[2],
        "error": error and _shortened(error, _LONGEST_LISTED),
        "reason": reason and {**reason, "message": _cut(reason["message"], _LONGEST_LISTED)},
    }


def _weight(told: Json) -> int:
    return _RESULTS.index(told["result"]) * 2 + (not told["recovered"])


def page_links(public_url: str | None, delivery_id: str) -> Json:
    """Where people read on and try again; null without a public_url."""
    if not public_url:
        return {"delivery": None, "retrigger": None}
    page = f"{str(public_url).rstrip('/')}/deliveries/{quote(delivery_id, safe='')}"
    return {"delivery": page, "retrigger": f"{page}#retrigger"}


def localize(body: Mapping[str, Any], language: str) -> Json:
    """The body with every sentence in one language: what goes over the wire."""
    return {name: _spoken(value, language) for name, value in body.items()}


def _spoken(value: Any, language: str) -> Any:
    if isinstance(value, list):
        return [_spoken(one, language) for one in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"en", "zh"}:
        return Localized(value["en"], value["zh"]).in_(language)
    return localize(value, language)


def _result(outcome: Outcome) -> str | None:
    match outcome:
        case Succeeded():
            return "succeeded"
        case Failed():
            return "failed"
        case Skipped():
            return "skipped"
        case Retry():
            return None


def _names(
    delivery: Delivery, event: Event | None, result: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """What the target answered; else what the route says, as far as it does without the archive."""
    if result.get("func_name"):
        return result["func_name"], result.get("package")
    try:
        return names(delivery.options, event, None) if event else (None, None)
    except RelayError:
        package = str(delivery.options.get("package", ""))
        return None, None if "{" in package else package or None


def _region(func_urn: object) -> str | None:
    """urn:fss:REGION:..."""
    parts = func_urn.split(":") if isinstance(func_urn, str) else []
    return parts[2] or None if len(parts) > 2 else None


def _reason(outcome: Outcome) -> Json | None:
    if not isinstance(outcome, Skipped):
        return None
    words = outcome.result.get("words")
    if not isinstance(words, Mapping) or words.keys() != {"en", "zh"}:
        words = REASONS.get(outcome.reason, Localized(outcome.reason, outcome.reason))._asdict()
    return {"code": outcome.reason, "message": _cut(words)}


def _error(outcome: Outcome) -> Json | None:
    if not isinstance(outcome, Failed):
        return None
    return _shortened(outcome.problem.to_json())


def _shortened(problem: Json, longest: int = _LONGEST_SENTENCE) -> Json:
    sentences = {name: _cut(problem[name], longest) for name in ("message", "hint")}
    return {**problem, **sentences}


def _cut(sentence: Mapping[str, str], longest: int = _LONGEST_SENTENCE) -> dict[str, str]:
    return {
        language: text if len(text) <= longest else f"{text[: longest - 1]}…"
        for language, text in sentence.items()
    }


def _storable(value: Any) -> Any:
    # A key may hold lone surrogates: strict JSON readers and PostgreSQL refuse the whole message.
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {name: _storable(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_storable(held) for held in value]
    return value
