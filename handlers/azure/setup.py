"""What to type at Azure so that Blob Storage's events come by Event Grid.

Source: reference of `az eventgrid event-subscription`, the azurerm provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Json, Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    as_json,
    call,
    command,
    quoted,
    terraform,
    with_token,
    words,
)
from relay.sources.setup.terraform import Expression, joined, resource, secret

BLOB_CREATED = "Microsoft.Storage.BlobCreated"


def azure(door: SetupContext) -> Iterator[Step]:
    """An Event Grid subscription on the storage account."""
    if door.has("queue_url"):
        yield from _queue(door)
        return
    cloud = door.takes("cloudevents") and not door.takes("azure")
    schema = "CloudEventSchemaV1_0" if cloud else "EventGridSchema"
    entra = _entra(door)
    address = quoted(door.url) if entra else with_token(door)
    for bucket in door.buckets:
        yield command(
            Localized(
                f"Subscribe the hook to container {bucket}, while Relay runs and can be reached by "
                "HTTPS: it answers the handshake. $STORAGE_ID is the id of the storage account "
                "(az storage account show --query id)",
                f"在 Relay 运行且可用 HTTPS 访问时为容器 {bucket} 创建订阅：它会应答握手。"
                "$STORAGE_ID 为存储账号的资源 id",
            ),
            call(
                "az eventgrid event-subscription create",
                f"--name {quoted(_azure_name(door, bucket))}",
                '--source-resource-id "$STORAGE_ID"',
                f"--endpoint {address}",
                f"--included-event-types {BLOB_CREATED}",
                *_subject_options(door, bucket),
                f"--event-delivery-schema {schema}",
                "--max-delivery-attempts 30",
                "--event-ttl 1440",
                *entra,
            ),
        )
    yield as_json(
        Localized(
            "The same as the body of its REST API (first container)",
            "其 REST API 的请求体（首个容器）",
        ),
        _azure_body(door, schema),
        "subscription.json",
    )
    yield terraform(Localized("As Terraform", "使用 Terraform"), _azure_terraform(door, schema))
    yield words(
        Localized(
            "Event Grid tries for 24 hours, but what is answered 400 or 413 not again, and drops "
            "what it could not deliver: set a dead-letter destination, or scan_every. A token in "
            "an address should be of letters and digits only",
            "Event Grid 重试 24 小时，对 400 与 413 不重试，失败后丢弃：请设置死信目的地或 "
            "scan_every。"
            "地址中的 token 应只含字母与数字",
        )
    )


def _queue(door: SetupContext) -> Iterator[Step]:
    """Through the Storage queue that the source pulls from: nothing needs to reach Relay."""
    queue = door.text("queue_url").rpartition("/")[2]
    where = f'"$STORAGE_ID/queueservices/default/queues/{queue}"'
    yield command(
        Localized(
            "The queue ($ACCOUNT: the storage account's name), and the container's events to it "
            "($STORAGE_ID: the account's id, az storage account show --query id)",
            "队列（$ACCOUNT 为存储账号名称）与写入队列的事件订阅（$STORAGE_ID 为存储账号资源 id）",
        ),
        call("az storage queue create", f"--name {quoted(queue)}", '--account-name "$ACCOUNT"'),
        *(
            call(
                "az eventgrid event-subscription create",
                f"--name {quoted(_azure_name(door, bucket))}",
                '--source-resource-id "$STORAGE_ID"',
                "--endpoint-type storagequeue",
                f"--endpoint {where}",
                f"--included-event-types {BLOB_CREATED}",
                *_subject_options(door, bucket),
            )
            for bucket in door.buckets
        ),
    )
    blocks = ['variable "storage_account_id" {\n  type = string\n}']
    account = Expression("var.storage_account_id")
    for number, bucket in enumerate(door.buckets):
        body = {
            "name": _azure_name(door, bucket),
            "scope": account,
            "included_event_types": [BLOB_CREATED],
            "storage_queue_endpoint": {"storage_account_id": account, "queue_name": queue},
            "subject_filter": _subject_filter(door, bucket),
        }
        blocks.append(resource("azurerm_eventgrid_event_subscription", f"relay_{number}", body))
    yield terraform(Localized("As Terraform", "使用 Terraform"), joined(*blocks))


def _subject_filter(door: SetupContext, bucket: str) -> Json:
    subject = _subject(door, bucket)
    ends = {"subject_ends_with": subject["ends"]} if subject["ends"] else {}
    return {"subject_begins_with": subject["begins"], **ends}


def _subject(door: SetupContext, bucket: str) -> dict[str, str]:
    wanted = door.wanted(bucket)
    begin = f"/blobServices/default/containers/{bucket}/blobs/{wanted.prefix}"
    return {"begins": begin, "ends": wanted.suffix}


def _subject_options(door: SetupContext, bucket: str) -> list[str]:
    subject = _subject(door, bucket)
    options = [f"--subject-begins-with {quoted(subject['begins'])}"]
    if subject["ends"]:
        options.append(f"--subject-ends-with {quoted(subject['ends'])}")
    # Event Grid does not tell upper from lower case unless it is asked to; that only takes more.
    return options


def _azure_name(door: SetupContext, bucket: str) -> str:
    return f"{door.name}-{bucket}"[:64].rstrip("-")


def _entra(door: SetupContext) -> tuple[str, ...]:
    tenant, audience = door.settings.entra_tenant, door.settings.entra_audience
    if not (tenant and audience):
        return ()
    return (
        f"--azure-active-directory-tenant-id {quoted(tenant)}",
        f"--azure-active-directory-application-id-or-uri {quoted(audience)}",
    )


def _azure_body(door: SetupContext, schema: str) -> Json:
    subject = _subject(door, door.buckets[0])
    properties: Json = {"endpointUrl": f"{door.url}?token={door.shown('token')}"}
    if _entra(door):
        properties = {
            "endpointUrl": door.url,
            "azureActiveDirectoryTenantId": door.settings.entra_tenant,
            "azureActiveDirectoryApplicationIdOrUri": door.settings.entra_audience,
        }
    return {
        "properties": {
            "destination": {"endpointType": "WebHook", "properties": properties},
            "filter": {
                "includedEventTypes": [BLOB_CREATED],
                "subjectBeginsWith": subject["begins"],
                "subjectEndsWith": subject["ends"],
            },
            "eventDeliverySchema": schema,
            "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
        }
    }


def _azure_terraform(door: SetupContext, schema: str) -> str:
    address: Json = {"url": Expression(f'"{door.url}?token=${{var.hook_token}}"')}
    if _entra(door):
        address = {
            "url": door.url,
            "active_directory_tenant_id": door.settings.entra_tenant,
            "active_directory_app_id_or_uri": door.settings.entra_audience,
        }
    blocks = [] if _entra(door) else [secret("hook_token")]
    blocks.append('variable "storage_account_id" {\n  type = string\n}')
    for number, bucket in enumerate(door.buckets):
        body = {
            "name": _azure_name(door, bucket),
            "scope": Expression("var.storage_account_id"),
            "event_delivery_schema": schema,
            "included_event_types": [BLOB_CREATED],
            "webhook_endpoint": address,
            "subject_filter": _subject_filter(door, bucket),
            "retry_policy": {"max_delivery_attempts": 30, "event_time_to_live": 1440},
        }
        blocks.append(resource("azurerm_eventgrid_event_subscription", f"relay_{number}", body))
    return joined(*blocks)
