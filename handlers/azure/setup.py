"""What to type at Azure so that Blob Storage's events come by Event Grid.

Source: reference of `az eventgrid event-subscription`, the azurerm provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Json, Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
    note,
    quote,
    terraform,
    url_with_token,
)
from relay.sources.setup.terraform import Expression, join_blocks, resource, secret_variable

BLOB_CREATED = "Microsoft.Storage.BlobCreated"


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """An Event Grid subscription on the storage account."""
    if context.has("queue_url"):
        yield from _queue(context)
        return
    cloud = context.accepts("cloudevents") and not context.accepts("azure")
    schema = "CloudEventSchemaV1_0" if cloud else "EventGridSchema"
    entra = _entra(context)
    address = quote(context.url) if entra else url_with_token(context)
    for bucket in context.buckets:
        yield command(
            Localized(
                f"Subscribe the hook to container {bucket}, while Relay runs and can be reached by "
                "HTTPS: it answers the handshake. $STORAGE_ID is the id of the storage account "
                "(az storage account show --query id)",
                f"在 Relay 运行且可用 HTTPS 访问时为容器 {bucket} 创建订阅：它会应答握手。"
                "$STORAGE_ID 为存储账号的资源 id",
            ),
            command_line(
                "az eventgrid event-subscription create",
                f"--name {quote(_azure_name(context, bucket))}",
                '--source-resource-id "$STORAGE_ID"',
                f"--endpoint {address}",
                f"--included-event-types {BLOB_CREATED}",
                *_subject_options(context, bucket),
                f"--event-delivery-schema {schema}",
                "--max-delivery-attempts 30",
                "--event-ttl 1440",
                *entra,
            ),
        )
    yield json_document(
        Localized(
            "The same as the body of its REST API (first container)",
            "其 REST API 的请求体（首个容器）",
        ),
        _azure_body(context, schema),
        "subscription.json",
    )
    yield terraform(Localized("As Terraform", "使用 Terraform"), _azure_terraform(context, schema))
    yield note(
        Localized(
            "Event Grid tries for 24 hours, but what is answered 400 or 413 not again, and drops "
            "what it could not deliver: set a dead-letter destination, or scan_every. A token in "
            "an address should be of letters and digits only",
            "Event Grid 重试 24 小时，对 400 与 413 不重试，失败后丢弃：请设置死信目的地或 "
            "scan_every。"
            "地址中的 token 应只含字母与数字",
        )
    )


def _queue(context: SetupContext) -> Iterator[Step]:
    """Through the Storage queue that the source pulls from: nothing needs to reach Relay."""
    queue = context.text("queue_url").rpartition("/")[2]
    where = f'"$STORAGE_ID/queueservices/default/queues/{queue}"'
    yield command(
        Localized(
            "The queue ($ACCOUNT: the storage account's name), and the container's events to it "
            "($STORAGE_ID: the account's id, az storage account show --query id)",
            "队列（$ACCOUNT 为存储账号名称）与写入队列的事件订阅（$STORAGE_ID 为存储账号资源 id）",
        ),
        command_line(
            "az storage queue create", f"--name {quote(queue)}", '--account-name "$ACCOUNT"'
        ),
        *(
            command_line(
                "az eventgrid event-subscription create",
                f"--name {quote(_azure_name(context, bucket))}",
                '--source-resource-id "$STORAGE_ID"',
                "--endpoint-type storagequeue",
                f"--endpoint {where}",
                f"--included-event-types {BLOB_CREATED}",
                *_subject_options(context, bucket),
            )
            for bucket in context.buckets
        ),
    )
    blocks = ['variable "storage_account_id" {\n  type = string\n}']
    account = Expression("var.storage_account_id")
    for number, bucket in enumerate(context.buckets):
        body = {
            "name": _azure_name(context, bucket),
            "scope": account,
            "included_event_types": [BLOB_CREATED],
            "storage_queue_endpoint": {"storage_account_id": account, "queue_name": queue},
            "subject_filter": _subject_filter(context, bucket),
        }
        blocks.append(resource("azurerm_eventgrid_event_subscription", f"relay_{number}", body))
    yield terraform(Localized("As Terraform", "使用 Terraform"), join_blocks(*blocks))


def _subject_filter(context: SetupContext, bucket: str) -> Json:
    subject = _subject(context, bucket)
    ends = {"subject_ends_with": subject["ends"]} if subject["ends"] else {}
    return {"subject_begins_with": subject["begins"], **ends}


def _subject(context: SetupContext, bucket: str) -> dict[str, str]:
    wanted = context.key_filter(bucket)
    begin = f"/blobServices/default/containers/{bucket}/blobs/{wanted.prefix}"
    return {"begins": begin, "ends": wanted.suffix}


def _subject_options(context: SetupContext, bucket: str) -> list[str]:
    subject = _subject(context, bucket)
    options = [f"--subject-begins-with {quote(subject['begins'])}"]
    if subject["ends"]:
        options.append(f"--subject-ends-with {quote(subject['ends'])}")
    # Event Grid does not tell upper from lower case unless it is asked to; that only takes more.
    return options


def _azure_name(context: SetupContext, bucket: str) -> str:
    return f"{context.name}-{bucket}"[:64].rstrip("-")


def _entra(context: SetupContext) -> tuple[str, ...]:
    tenant, audience = context.settings.entra_tenant, context.settings.entra_audience
    if not (tenant and audience):
        return ()
    return (
        f"--azure-active-directory-tenant-id {quote(tenant)}",
        f"--azure-active-directory-application-id-or-uri {quote(audience)}",
    )


def _azure_body(context: SetupContext, schema: str) -> Json:
    subject = _subject(context, context.buckets[0])
    properties: Json = {"endpointUrl": f"{context.url}?token={context.reference('token')}"}
    if _entra(context):
        properties = {
            "endpointUrl": context.url,
            "azureActiveDirectoryTenantId": context.settings.entra_tenant,
            "azureActiveDirectoryApplicationIdOrUri": context.settings.entra_audience,
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


def _azure_terraform(context: SetupContext, schema: str) -> str:
    address: Json = {"url": Expression(f'"{context.url}?token=${{var.hook_token}}"')}
    if _entra(context):
        address = {
            "url": context.url,
            "active_directory_tenant_id": context.settings.entra_tenant,
            "active_directory_app_id_or_uri": context.settings.entra_audience,
        }
    blocks = [] if _entra(context) else [secret_variable("hook_token")]
    blocks.append('variable "storage_account_id" {\n  type = string\n}')
    for number, bucket in enumerate(context.buckets):
        body = {
            "name": _azure_name(context, bucket),
            "scope": Expression("var.storage_account_id"),
            "event_delivery_schema": schema,
            "included_event_types": [BLOB_CREATED],
            "webhook_endpoint": address,
            "subject_filter": _subject_filter(context, bucket),
            "retry_policy": {"max_delivery_attempts": 30, "event_time_to_live": 1440},
        }
        blocks.append(resource("azurerm_eventgrid_event_subscription", f"relay_{number}", body))
    return join_blocks(*blocks)
