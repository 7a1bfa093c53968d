"""Errors of storages and queues: a function for each, used by every protocol.

`name` is the object, bucket or queue of the request; `code` is the error code of the storage.
"""

from __future__ import annotations

import re
from datetime import timedelta

from relay.errors import Gone, PermanentFailure, RelayError, Superseded, TemporaryFailure
from relay.model import Localized

_RETRIES = Localized("Relay retries.", "Relay 会重试。")


def cut_short(name: str) -> TemporaryFailure:
    """A response shorter than announced."""
    return TemporaryFailure(
        "object.cut",
        Localized(f"The store ended {name} early", f"存储提前结束了 {name} 的传输"),
        Localized("Relay continues where it stopped.", "Relay 会从中断处继续。"),
    )


def superseded(name: str) -> Superseded:
    """An object that changed after the notification."""
    return Superseded(
        "object.superseded",
        Localized(f"{name} changed since it was announced", f"{name} 在通知之后已被更改"),
    )


def gone(name: str, code: str) -> Gone:
    """An object that does not exist."""
    return Gone(
        "object.gone", Localized(f"{name} no longer exists", f"{name} 已不存在"), answer=code
    )


def unexplained_404(name: str, code: str) -> TemporaryFailure:
    """A 404 without the store's own code for a missing object: no proof that it was deleted."""
    return TemporaryFailure(
        "storage.unexplained_404",
        Localized(
            f"The response 404 for {name} does not name what is missing ({code})",
            f"对 {name} 的 404 响应未说明缺少什么（{code}）",
        ),
        Localized(
            "Relay retries. A proxy or gateway may have responded, or endpoint_url is wrong: "
            "check them.",
            "Relay 会重试。可能是代理或网关的响应，或 endpoint_url 有误，请检查。",
        ),
        answer=code,
    )


def archived(name: str, code: str) -> PermanentFailure:
    """An object that must be restored before it can be read."""
    return PermanentFailure(
        "object.archived",
        Localized(f"{name} is in an archive tier", f"{name} 位于归档存储层"),
        Localized("Restore it, then retrigger.", "请先恢复对象，再重新触发。"),
        answer=code,
    )


def no_bucket(name: str, code: str) -> TemporaryFailure:
    """A bucket, container, queue or subscription that does not exist.

    A fault of the surroundings, as in not_authenticated().
    """
    return TemporaryFailure(
        "storage.no_bucket",
        Localized(f"There is no such bucket or queue: {name}", f"存储桶或队列不存在：{name}"),
        Localized(
            "Relay retries. Check its name, endpoint_url and region; stores do not share buckets.",
            "Relay 会重试。请检查名称、endpoint_url 与 region：不同存储之间不共享存储桶。",
        ),
        answer=code,
    )


def bad_bucket() -> PermanentFailure:
    """A bucket name that would change the URL of the request."""
    return PermanentFailure(
        "storage.bad_bucket",
        Localized(
            "The store cannot have a bucket with this name", "存储中不可能存在此名称的存储桶"
        ),
        Localized(
            "The name consists of lower-case letters, digits and hyphens.",
            "名称应由小写字母、数字与连字符组成。",
        ),
    )


def bad_key(reason: Localized) -> PermanentFailure:
    """A key that the storage cannot have, so that the request would read another object."""
    return PermanentFailure(
        "storage.bad_key",
        Localized(
            f"The store cannot have an object with this key: {reason.en}",
            f"存储中不可能有此键：{reason.zh}",
        ),
        Localized("Check the key.", "请检查对象键。"),
    )


def busy(name: str, code: str, retry_after: timedelta | None) -> TemporaryFailure:
    """A storage that is overloaded or unavailable."""
    return TemporaryFailure(
        "storage.busy",
        Localized(f"The store is busy: {name} ({code})", f"存储繁忙：{name}（{code}）"),
        _RETRIES,
        answer=code,
        retry_after=retry_after,
    )


_KMS_CODE = re.compile(r"kms|KeyVault", re.IGNORECASE)
_KMS_WORDS = re.compile(r"(?<![-./_\w])(?:KMS(?![-./_\w])|kms:|cloudkms)")
"""KMS in a message: the service or a permission, and not a part of a bucket's or object's name."""

_CUSTOMER_KEY = re.compile(
    r"stored using a form of server.side encryption|customer.(provided|supplied)", re.IGNORECASE
)


def cannot_decrypt(name: str, code: str, message: str) -> RelayError | None:
    """The error of a refusal because of the object's encryption; None for other refusals.

    `message`: the text of the storage, because a missing permission to decrypt is an ordinary
    AccessDenied.
    """
    if re.search("throttl", code, re.IGNORECASE):
        return None
    if _CUSTOMER_KEY.search(message):
        return PermanentFailure(
            "storage.customer_key",
            Localized(
                f"{name} is encrypted with a key that the store does not keep (SSE-C)",
                f"{name} 使用客户提供的密钥加密（SSE-C），存储不保存该密钥",
            ),
            Localized(
                "Upload it again with the store's own encryption (SSE-S3 or SSE-KMS).",
                "请改用存储自身的加密方式（SSE-S3 或 SSE-KMS）重新上传。",
            ),
            answer=code,
        )
    if not _KMS_CODE.search(code) and not _KMS_WORDS.search(message):
        return None
    return PermanentFailure(
        "storage.kms",
        Localized(
            f"{name} is encrypted with a KMS key that cannot be used ({code})",
            f"{name} 使用 KMS 密钥加密，而该密钥无法使用（{code}）",
        ),
        Localized(
            "Enable the key in KMS if it is disabled or about to be deleted, and allow the"
            " source's credentials to decrypt with it (AWS: kms:Decrypt, in the policy of the key"
            " too; Huawei Cloud: permissions for DEW/KMS in the bucket's region). Then retrigger.",
            "若密钥已禁用或计划删除，请在 KMS 中启用；并授权该来源的凭证使用该密钥解密"
            "（AWS：kms:Decrypt，密钥策略中也须允许；华为云：桶所在区域的 DEW/KMS 权限）。"
            "然后重新触发。",
        ),
        answer=code,
    )


_DENIED = "storage.denied"


def denied(name: str, code: str, hint: Localized) -> PermanentFailure:
    """A missing permission: the store knows the source, and a person decides."""
    return PermanentFailure(_DENIED, _denied_message(name, code), hint, answer=code)


def not_authenticated(name: str, code: str, hint: Localized) -> TemporaryFailure:
    """Rejected credentials: unknown, expired, or signed by a wrong clock.

    The fault is that of the surroundings, not of the object: a new key, a new token or the right
    time repairs it for all deliveries.
    """
    retried = Localized(f"{_RETRIES.en} {hint.en}", f"{_RETRIES.zh}{hint.zh}")
    return TemporaryFailure(_DENIED, _denied_message(name, code), retried, answer=code)


def _denied_message(name: str, code: str) -> Localized:
    return Localized(
        f"The store denies access to {name} ({code})", f"存储拒绝访问 {name}（{code}）"
    )


def refused(name: str, code: str) -> PermanentFailure:
    """Any other refusal."""
    return PermanentFailure(
        "storage.refused",
        Localized(
            f"The store refuses the request for {name} ({code})",
            f"存储拒绝了对 {name} 的请求（{code}）",
        ),
        Localized(
            "The documentation of the store explains the code. Correct the source in relay.toml or"
            " the object, then retrigger.",
            "该错误码的含义见存储的文档。请修正 relay.toml 中的来源或该对象，然后重新触发。",
        ),
        answer=code,
    )


SLOW = "storage.slow"


def slow(host: str, seconds: float) -> TemporaryFailure:
    """A connection without a response."""
    return TemporaryFailure(
        SLOW,
        Localized(
            f"{host} did not respond within {seconds:g} s", f"{host} 在 {seconds:g} 秒内未响应"
        ),
        _RETRIES,
    )


def not_understood(name: str, code: str) -> TemporaryFailure:
    """A successful response that does not follow the protocol; usually the page of a proxy."""
    return TemporaryFailure(
        "storage.not_understood",
        Localized(
            f"The store's response about {name} is invalid ({code})",
            f"存储对 {name} 的响应无法识别（{code}）",
        ),
        Localized(
            "A proxy in front of it may have responded; check endpoint_url.",
            "可能是其前置代理的响应，请检查 endpoint_url。",
        ),
        answer=code,
    )


def endless_listing(bucket: str) -> PermanentFailure:
    """A listing that returns the same page again."""
    return PermanentFailure(
        "storage.listing_goes_round",
        Localized(
            f"The store does not continue the listing of {bucket}",
            f"存储未继续返回 {bucket} 的列表",
        ),
        Localized(
            "The store, or a proxy in front of it, repeats the same page; Relay needs all pages.",
            "存储或其前置代理不断返回同一页，而 Relay 需要全部页面。",
        ),
    )


def not_deleted(count: int) -> TemporaryFailure:
    """Stored messages that remain in the queue."""
    return TemporaryFailure(
        "queue.not_deleted",
        Localized(
            f"{count} messages could not be deleted from the queue; they will be received again",
            f"{count} 条消息未能从队列删除，将再次收到",
        ),
    )


def no_length(name: str) -> TemporaryFailure:
    """A response of unknown length, whose end could be lost unnoticed."""
    return TemporaryFailure(
        "storage.no_length",
        Localized(f"The store does not send the length of {name}", f"存储未返回 {name} 的长度"),
        Localized(
            "The store, or a proxy in front of it, sends no Content-Length; Relay needs it.",
            "存储或其前置代理未发送 Content-Length，而 Relay 需要它。",
        ),
    )


def no_ranges(name: str) -> PermanentFailure:
    """A response with another range than requested."""
    return PermanentFailure(
        "storage.no_ranges",
        Localized(
            f"The store sends other bytes of {name} than requested",
            f"存储返回的不是所请求的 {name} 字节范围",
        ),
        Localized(
            "The store, or a proxy in front of it, ignores Range; Relay needs it.",
            "存储或其前置代理不支持 Range 请求，而 Relay 需要它。",
        ),
    )
