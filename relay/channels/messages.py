"""Builds the messages about an outcome: selects the channels and composes the body.

The body is the `data` of the generic webhook. It contains every sentence in both languages;
`localize` selects a language when the message is posted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from relay.config.load import Settings
from relay.config.routing import labelled, names
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
        "A newer version of the object was announced and will be imported instead.",
        "该对象已有更新的版本，将改为导入新版本。",
    ),
    "gone": Localized(
        "The object is no longer in the bucket.",
        "该对象已不在存储桶中。",
    ),
    "unchanged": Localized(
        "The target already holds exactly this code.",
        "目标已有完全相同的代码。",
    ),
    "configuration differs": Localized(
        "The target already holds exactly this code, with other settings.",
        "目标已有完全相同的代码，但配置不同。",
    ),
    "no route": Localized(
        "No route in relay.toml matches this object.",
        "relay.toml 中没有匹配该对象的路由。",
    ),
}
"""Why a delivery was skipped."""

_LONGEST_SENTENCE = 2000
_LONGEST_IN_DIGEST = 300
"""Characters of a sentence in a digest, which may have a thousand deliveries."""

_RESULTS = {Failed: "failed", Succeeded: "succeeded", Skipped: "skipped"}
"""The order is that of a digest."""

_DIGEST_KEYS = (
    *("delivery", "bucket", "key", "version", "target", "func_name", "package"),
    *("recovered", "links"),
)
_SHA512_PREFIX = 12
_MOST_WARNINGS = 50
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def import_messages(
    settings: Settings,
    claim: Claim,
    outcome: Outcome,
    now: datetime,
    seconds: float | None = None,
) -> list[NewMessage]:
    """Return a message about an import's outcome for each channel that is configured for it.

    A Retry causes no message. A channel that is not configured any more gets a message all the
    same: the message waits until the channel is configured again.
    `seconds`: duration of the attempt; None: the time since the delivery was created.
    A success is also for channels that do not want successes: the ledger stores it if the channel
    was told of a failure of this object last, and sets `recovered` then.
    """
    result = _RESULTS.get(type(outcome))
    if result is None or claim.delivery.kind is not Kind.IMPORT:
        return []
    wants = {
        name: name not in settings.channels or result in settings.channels[name].on
        for name in claim.delivery.channels
    }
    names = [name for name, is_wanted in wants.items() if is_wanted or result == "succeeded"]
    if not names:
        return []
    if seconds is None:
        seconds = (now - claim.delivery.created).total_seconds()
    body = message_body(claim, outcome, seconds, settings.public_url)
    target = settings.targets.get(claim.delivery.destination)
    body["region"] = getattr(target, "region", None) or body["region"]
    return [
        NewMessage(
            name,
            f"import.{result}",
            {**body, "recovered": None},
            only_if_recovered=not wants[name],
        )
        for name in names
    ]


def destination_messages(
    settings: Settings, delivery: Delivery, change: str, outcome: Outcome, now: datetime
) -> list[NewMessage]:
    """Return the messages that a target is "down", or "up" again (`change`).

    Or that a table of relay.toml is "unconfigured". All channels of the target's routes that want
    failures get them. `delivery` and `outcome` are those that revealed the change. There are no
    messages about a channel that is down.
    """
    if change == "unconfigured":
        return _unconfigured_messages(settings, delivery, outcome, now)
    if delivery.kind is not Kind.IMPORT:
        return []
    problem = None
    if change == "down" and isinstance(outcome, Retry | Failed):
        problem = _shorten_problem(outcome.problem.to_json())
    body: Json = _storable(
        {
            "target": delivery.destination,
            "since": now.isoformat(timespec="seconds"),
            "error": problem,
            "delivery": delivery.id,
            "links": page_links(settings.public_url, delivery.id),
        }
    )
    routes = (route for route in settings.routes if route.target == delivery.destination)
    names = dict.fromkeys(channel for route in routes for channel in route.channels)
    return [
        NewMessage(name, f"target.{change}", body)
        for name in names
        if name not in settings.channels or "failed" in settings.channels[name].on
    ]


def _unconfigured_messages(
    settings: Settings, delivery: Delivery, outcome: Outcome, now: datetime
) -> list[NewMessage]:
    """Return the messages that deliveries wait for a table that relay.toml lacks.

    The channels of the delivery and of the route get them, if they are configured.
    """
    if not isinstance(outcome, Retry) or outcome.not_configured is None:
        return []
    routes = (route for label, route in labelled(settings.routes) if label == delivery.route)
    names = [*delivery.channels, *(channel for route in routes for channel in route.channels)]
    body: Json = _storable(
        {
            "setting": outcome.not_configured,
            "since": now.isoformat(timespec="seconds"),
            "error": _shorten_problem(outcome.problem.to_json()),
            "delivery": delivery.id,
            "links": {**page_links(settings.public_url, delivery.id), "retrigger": None},
        }
    )
    return [
        NewMessage(name, "configuration.missing", body)
        for name in dict.fromkeys(names)
        if name in settings.channels and "failed" in settings.channels[name].on
    ]


def message_body(claim: Claim, outcome: Outcome, seconds: float, public_url: str | None) -> Json:
    """Return the body of a message about a finished import; sentences are {"en", "zh"}."""
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
        "answer": result.get("answer"),
        "effect": result.get("effect"),
        "differences": result.get("differences"),
        "not_applied": result.get("not_applied") or None,
        "unknown_fields": result.get("unknown_fields") or None,
        "warnings": [
            {**warning, "message": _shorten(warning["message"])} for warning in warnings_of(result)
        ],
        "digest": digest[:_SHA512_PREFIX] if isinstance(digest, str) else None,
        "attempts": delivery.attempts,
        "trigger": str(delivery.trigger),
        "duration_seconds": round(max(seconds, 0.0), 3),
        "reason": _reason(outcome),
        "error": (
            _shorten_problem(outcome.problem.to_json()) if isinstance(outcome, Failed) else None
        ),
        "links": page_links(public_url, delivery.id),
    }
    return {name: _storable(value) for name, value in body.items()}


def warnings_of(result: object) -> list[Json]:
    """Return the warnings of a result: `code`, `message` as {"en", "zh"}, and `where`.

    The message may be stored as plain text. A plug-in may store anything as the result.
    """
    stored = result.get("warnings") if isinstance(result, Mapping) else None
    if not isinstance(stored, list):
        return []
    return [
        {
            "code": str(warning.get("code") or ""),
            "message": _in_both_languages(warning.get("message")),
            "where": str(warning.get("where") or "") or None,
        }
        for warning in stored[:_MOST_WARNINGS]
        if isinstance(warning, Mapping)
    ]


def _in_both_languages(text: Any) -> Json:
    if isinstance(text, Mapping) and text.keys() == {"en", "zh"}:
        return {language: str(text[language]) for language in text}
    return Localized(str(text), str(text))._asdict()


def digest_body(
    public_url: str | None, digest_id: str, messages: Iterable[tuple[datetime, Json]]
) -> Json:
    """Return the body of a digest that replaces `messages`: (time of creation, {"type", "body"}).

    Failures come first, then recoveries, then the rest; each group is in the order of time.
    """
    by_time = sorted(messages, key=lambda message: message[0])
    deliveries = [_digest_entry(message) for _, message in by_time]
    counts = Counter(delivery["result"] for delivery in deliveries)
    return {
        "count": len(deliveries),
        "results": {name: counts[name] for name in _RESULTS.values() if counts[name]},
        "since": by_time[0][0].isoformat(timespec="seconds"),
        "until": by_time[-1][0].isoformat(timespec="seconds"),
        "deliveries": sorted(deliveries, key=_digest_order),
        "links": {"deliveries": page_links(public_url, digest_id)["delivery"]},
    }


def _digest_entry(message: Json) -> Json:
    body = message["body"]
    error, reason = body.get("error"), body.get("reason")
    return {
        **{key: body.get(key) for key in _DIGEST_KEYS},
        "result": message["type"].rpartition(".")[2],
        "error": error and _shorten_problem(error, _LONGEST_IN_DIGEST),
        "reason": reason and {**reason, "message": _shorten(reason["message"], _LONGEST_IN_DIGEST)},
    }


def _digest_order(delivery: Json) -> int:
    return [*_RESULTS.values()].index(delivery["result"]) * 2 + (not delivery["recovered"])


def page_links(public_url: str | None, delivery_id: str) -> Json:
    """Return the addresses of the delivery's page; null without a public_url."""
    if not public_url:
        return {"delivery": None, "retrigger": None}
    page = f"{str(public_url).rstrip('/')}/deliveries/{quote(delivery_id, safe='')}"
    return {"delivery": page, "retrigger": f"{page}#retrigger"}


def localize(body: Mapping[str, Any], language: str) -> Json:
    """Return the body that is sent: every sentence is a string in the given language."""
    return {name: _localize_value(value, language) for name, value in body.items()}


def _localize_value(value: Any, language: str) -> Any:
    if isinstance(value, list):
        return [_localize_value(item, language) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"en", "zh"}:
        return Localized(value["en"], value["zh"]).in_language(language)
    return localize(value, language)


def _names(
    delivery: Delivery, event: Event | None, result: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """Return the names that the target reported, else those that the route alone determines."""
    if result.get("func_name"):
        return result["func_name"], result.get("package")
    try:
        return names(delivery.options, event, None) if event else (None, None)
    except RelayError:
        package = str(delivery.options.get("package", ""))
        return None, None if "{" in package else package or None


def _region(func_urn: object) -> str | None:
    """Return the region of urn:fss:REGION:..."""
    parts = func_urn.split(":") if isinstance(func_urn, str) else []
    return parts[2] or None if len(parts) > 2 else None


def _reason(outcome: Outcome) -> Json | None:
    if not isinstance(outcome, Skipped):
        return None
    sentence = outcome.result.get("words")
    if not isinstance(sentence, Mapping) or sentence.keys() != {"en", "zh"}:
        sentence = REASONS.get(outcome.reason, Localized(outcome.reason, outcome.reason))._asdict()
    return {"code": outcome.reason, "message": _shorten(sentence)}


def _shorten_problem(problem: Json, longest: int = _LONGEST_SENTENCE) -> Json:
    sentences = {name: _shorten(problem[name], longest) for name in ("message", "hint")}
    return {**problem, **sentences}


def _shorten(sentence: Mapping[str, str], longest: int = _LONGEST_SENTENCE) -> dict[str, str]:
    return {
        language: text if len(text) <= longest else f"{text[: longest - 1]}…"
        for language, text in sentence.items()
    }


def _storable(value: Any) -> Any:
    # A key may contain lone surrogates. PostgreSQL and strict JSON parsers refuse them.
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {name: _storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
