"""What goes wrong at a storage, in words: one error for each, whatever protocol it speaks."""

from __future__ import annotations

from datetime import timedelta

from relay.errors import Gone, PermanentFailure, Superseded, TemporaryFailure
from relay.model import Localized


def cut_short(thing: str) -> TemporaryFailure:
    """A stream that ends before the length it announced. `thing` names what was asked for."""
    return TemporaryFailure(
        "object.cut",
        Localized(f"The store ended {thing} early", f"存储提前结束了 {thing} 的传输"),
        Localized("Relay goes on where it stopped.", "Relay 会从中断处继续。"),
    )


def superseded(thing: str) -> Superseded:
    """An object that is there, but not as it was announced."""
    return Superseded(
        "object.superseded",
        Localized(f"{thing} changed since it was announced", f"{thing} 在通知之后已被更改"),
    )


def gone(thing: str, code: str) -> Gone:
    """An object that is not there. `code`: the store's own word for it."""
    return Gone(
        "object.gone", Localized(f"{thing} is not there any more", f"{thing} 已不存在"), answer=code
    )


def archived(thing: str, code: str) -> PermanentFailure:
    """An object that has to be restored before it can be read."""
    return PermanentFailure(
        "object.archived",
        Localized(f"{thing} lies in an archive tier", f"{thing} 位于归档存储层"),
        Localized("Restore it, then retrigger.", "请先恢复对象，再重新触发。"),
        answer=code,
    )


def no_bucket(thing: str, code: str) -> PermanentFailure:
    """A bucket, container, queue or subscription that is not there."""
    return PermanentFailure(
        "storage.no_bucket",
        Localized(f"There is no such bucket or queue: {thing}", f"存储桶或队列不存在：{thing}"),
        Localized(
            "Check its name, endpoint_url and region; other stores hold other buckets.",
            "请检查名称、endpoint_url 与 region: 不同存储之间不共享存储桶。",
        ),
        answer=code,
    )


def bad_bucket() -> PermanentFailure:
    """A bucket's name that would lead the request elsewhere."""
    return PermanentFailure(
        "storage.bad_bucket",
        Localized("The store has no buckets of such a name", "存储中不可能存在此名称的存储桶"),
        Localized(
            "Lower-case letters, digits and hyphens are right.",
            "名称应由小写字母、数字与连字符组成。",
        ),
    )


def bad_key(why: Localized) -> PermanentFailure:
    """A key that no object of the store can have, so that asking would find another one."""
    return PermanentFailure(
        "storage.bad_key",
        Localized(
            f"The store has no objects of such a key: {why.en}", f"存储中不可能有此键：{why.zh}"
        ),
        Localized("Check the key.", "请检查对象键。"),
    )


def busy(thing: str, code: str, retry_after: timedelta | None) -> TemporaryFailure:
    """A store that cannot answer now."""
    return TemporaryFailure(
        "storage.busy",
        Localized(f"The store is busy: {thing} ({code})", f"存储繁忙：{thing} ({code})"),
        Localized("Relay tries again.", "Relay 会重试。"),
        answer=code,
        retry_after=retry_after,
    )


def denied(thing: str, code: str, hint: Localized) -> PermanentFailure:
    """A store that does not let us in."""
    return PermanentFailure(
        "storage.denied",
        Localized(f"The store denies access to {thing} ({code})", f"存储拒绝访问 {thing} ({code})"),
        hint,
        answer=code,
    )


def refused(thing: str, code: str) -> PermanentFailure:
    """Whatever else a store says no to."""
    return PermanentFailure(
        "storage.refused",
        Localized(f"The store refuses {thing} ({code})", f"存储拒绝访问 {thing} ({code})"),
        answer=code,
    )


SLOW = "storage.slow"


def slow(host: str, seconds: float) -> TemporaryFailure:
    """A connection that stands, and nothing comes."""
    return TemporaryFailure(
        SLOW,
        Localized(
            f"{host} did not answer within {seconds:g} s", f"{host} 在 {seconds:g} 秒内未应答"
        ),
        Localized("Relay tries again.", "Relay 会重试。"),
    )


def not_understood(thing: str, code: str) -> TemporaryFailure:
    """A success that is not what the protocol says: mostly a proxy's own page."""
    return TemporaryFailure(
        "storage.not_understood",
        Localized(
            f"The store's answer about {thing} is none ({code})",
            f"存储对 {thing} 的应答无法识别（{code}）",
        ),
        Localized(
            "A proxy before it may answer instead; check endpoint_url.",
            "可能是其前置代理的应答，请检查 endpoint_url。",
        ),
        answer=code,
    )


def endless_listing(bucket: str) -> PermanentFailure:
    """A listing without an end."""
    return PermanentFailure(
        "storage.listing_goes_round",
        Localized(
            f"The store does not say where the listing of {bucket} goes on",
            f"存储未告知 {bucket} 的列表从何处继续",
        ),
        Localized(
            "It, or a proxy before it, says the same page over and over; Relay needs all of them.",
            "存储或其前置代理不断返回同一页，而 Relay 需要全部页面。",
        ),
    )


def not_deleted(count: int) -> TemporaryFailure:
    """Messages of a queue that stay although they were stored."""
    return TemporaryFailure(
        "queue.not_deleted",
        Localized(
            f"{count} messages could not be deleted from the queue; they come again",
            f"{count} 条消息未能从队列删除，将再次收到",
        ),
    )


def no_length(thing: str) -> TemporaryFailure:
    """An answer of unknown length, which could end anywhere and look whole."""
    return TemporaryFailure(
        "storage.no_length",
        Localized(f"The store does not say how long {thing} is", f"存储未告知 {thing} 的长度"),
        Localized(
            "It, or a proxy before it, sends no Content-Length; Relay needs that.",
            "存储或其前置代理未发送 Content-Length，而 Relay 需要它。",
        ),
    )


def no_ranges(thing: str) -> PermanentFailure:
    """Other bytes than were asked for."""
    return PermanentFailure(
        "storage.no_ranges",
        Localized(
            f"The store answers with other bytes of {thing} than were asked for",
            f"存储返回的不是所请求的 {thing} 字节范围",
        ),
        Localized(
            "It, or a proxy before it, does not honour Range; Relay needs that.",
            "存储或其前置代理不支持 Range 请求，而 Relay 需要它。",
        ),
    )
