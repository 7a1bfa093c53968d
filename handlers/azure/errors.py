"""What Azure Storage answers when it refuses, in our words.

Wire format: Azure Storage, "Status and error codes": the code is a header. The body is not shown:
it may tell the string that was signed.
"""

from __future__ import annotations

import requests

from relay.errors import RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.responses import cleaned, retry_after
from relay.sources.errors import archived, busy, denied, gone, no_bucket, refused, superseded

_NO_PLACE = ("ContainerNotFound", "QueueNotFound", "ContainerBeingDeleted", "ContainerDisabled")
_CLOSED = ("PublicAccessNotPermitted", "ResourceNotFound")
"""Said to who asks without credentials."""


def refusal(answer: requests.Response, thing: str) -> RelayError:
    """The error of an answer about a blob or a queue."""
    status, code = answer.status_code, cleaned(answer.headers.get("x-ms-error-code", ""), 80)
    told = f"{status} {code}".strip()
    if status in (408, 429) or status >= 500:
        return busy(thing, told, retry_after(answer))
    if code in _NO_PLACE:
        return no_bucket(thing, told)
    if code == "BlobArchived":
        return archived(thing, told)
    if code == "BlobBeingRehydrated":
        return on_its_way(thing, told)
    if status in (401, 403) or code in _CLOSED:
        return denied(thing, told, HINT)
    if status == 404:
        return gone(thing, told)
    return superseded(thing) if status in (304, 412) else refused(thing, told)


def on_its_way(thing: str, code: str) -> TemporaryFailure:
    """A blob that will be there: a copy that was begun, or one that comes out of the archive."""
    return TemporaryFailure(
        "object.not_yet",
        Localized(f"{thing} is still being copied or restored", f"{thing} 仍在复制或恢复中"),
        Localized("Relay tries again.", "Relay 会重试。"),
        answer=code,
    )


HINT = Localized(
    "Check the source's credentials (a SAS also ends), their right to read and list (Storage Blob "
    "Data Reader; Storage Queue Data Message Processor to pull), the account's firewall, and this "
    "machine's clock.",
    "请检查该来源的凭证（SAS 会过期）、读取与列举权限 (Storage Blob Data Reader；拉取需 "
    "Storage Queue Data Message Processor)、存储账号防火墙以及本机时钟。",
)
