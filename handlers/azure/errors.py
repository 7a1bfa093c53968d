"""Translation of Azure Storage's error responses.

Wire format: Azure Storage, "Status and error codes": the code is a header. The body is
never shown, because it may contain the string to sign.
"""

from __future__ import annotations

import requests

from relay.config.text import excerpt
from relay.errors import RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.responses import retry_after
from relay.sources.errors import (
    archived,
    busy,
    cannot_decrypt,
    denied,
    gone,
    no_bucket,
    not_authenticated,
    refused,
    superseded,
    unexplained_404,
)

_NO_CONTAINER = ("ContainerNotFound", "QueueNotFound", "ContainerBeingDeleted", "ContainerDisabled")
_NOT_PUBLIC = ("PublicAccessNotPermitted", "ResourceNotFound")
"""Codes of requests without credentials."""


def refusal(response: requests.Response, resource: str) -> RelayError:
    """The error for a response about a blob or a queue."""
    status, code = response.status_code, excerpt(response.headers.get("x-ms-error-code", ""), 80)
    reason = f"{status} {code}".strip()
    if status in (408, 429) or status >= 500:
        return busy(resource, reason, retry_after(response))
    if code in _NO_CONTAINER:
        return no_bucket(resource, reason)
    if code == "BlobArchived":
        return archived(resource, reason)
    if code == "BlobBeingRehydrated":
        return not_ready(resource, reason)
    if problem := _access_error(status, code, resource):
        return problem
    if code == "BlobNotFound":
        return gone(resource, reason)
    if status == 404:
        return unexplained_404(resource, reason)
    return superseded(resource) if status in (304, 412) else refused(resource, reason)


def _access_error(status: int, code: str, resource: str) -> RelayError | None:
    reason = f"{status} {code}".strip()
    if status == 401 or code == "AuthenticationFailed":
        return not_authenticated(resource, reason, HINT)
    if status == 403 or code in _NOT_PUBLIC:
        return cannot_decrypt(resource, reason, "") or denied(resource, reason, HINT)
    return None


def not_ready(resource: str, code: str) -> TemporaryFailure:
    """A blob that is not complete yet: a running copy, or a restore from the archive."""
    return TemporaryFailure(
        "object.not_yet",
        Localized(f"{resource} is still being copied or restored", f"{resource} 仍在复制或恢复中"),
        Localized("Relay retries.", "Relay 会重试。"),
        answer=code,
    )


HINT = Localized(
    "Check the source's credentials (a SAS can expire), their permissions to read and list "
    "(Storage Blob Data Reader; to pull, Storage Queue Data Message Processor), the account's "
    "firewall, and this machine's clock.",
    "请检查该来源的凭证（SAS 会过期）、读取与列举权限（Storage Blob Data Reader；拉取需 "
    "Storage Queue Data Message Processor）、存储账号防火墙以及本机时钟。",
)
