"""Set-up of Azure Blob Storage: Event Grid subscriptions to the hook or to a Storage queue.

Sources: reference of `az eventgrid event-subscription`, the azurerm provider.
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
from relay.sources.setup.terraform import (
    Expression,
    join_blocks,
    resource,
    secret_variable,
    variable,
)

BLOB_CREATED = "Microsoft.Storage.BlobCreated"


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """Event Grid subscriptions on the storage account."""
    if context.has("queue_url"):
        yield from _queue_steps(context)
        return
    is_cloud = context.accepts("cloudevents") and not context.accepts("azure")
    schema = "CloudEventSchemaV1_0" if is_cloud else "EventGridSchema"
    entra = _entra_options(context)
    address = quote(context.url) if entra else url_with_token(context)
    for bucket in context.buckets:
        yield command(
            Localized(
                f"Subscribe the hook to container {bucket} while Relay is running and reachable "
                "by HTTPS: Relay answers the handshake. $STORAGE_ID is the id of the storage "
                "account (az storage account show --query id)",
                f"在 Relay 运行且可用 HTTPS 访问时为容器 {bucket} 创建订阅：它会响应握手。"
                "$STORAGE_ID 为存储账号的资源 id（az storage account show --query id）",
            ),
            command_line(
                "az eventgrid event-subscription create",
                f"--name {quote(_subscription_name(context, bucket))}",
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
            "Or use the REST API with this request body (for the first container)",
            "或使用 REST API，请求体如下（首个容器）",
        ),
        _request_body(context, schema),
        "subscription.json",
    )
    yield terraform(Localized("Or use Terraform", "或使用 Terraform"), _terraform(context, schema))
    yield note(
        Localized(
            "Event Grid retries for 24 hours, except after status 400 or 413, then drops the "
            "event: configure a dead-letter destination, or set scan_every. Use only letters and "
            "digits for a token in an address",
            "Event Grid 重试 24 小时（状态码 400 与 413 除外），之后丢弃事件：请配置死信目标，"
            "或设置 scan_every。地址中的 token 应只含字母与数字",
        )
    )


def _queue_steps(context: SetupContext) -> Iterator[Step]:
    """Through the Storage queue that Relay polls, so Relay needs no public address."""
    queue = context.text("queue_url").rpartition("/")[2]
    yield command(
        Localized(
            "Create the queue ($ACCOUNT: the storage account's name), and send the container's "
            "events to it ($STORAGE_ID: the account's id, az storage account show --query id)",
            "创建队列（$ACCOUNT 为存储账号名称），并将容器的事件发送到队列（$STORAGE_ID 为存储账号"
            "的资源 id，az storage account show --query id）",
        ),
        command_line(
            "az storage queue create", f"--name {quote(queue)}", '--account-name "$ACCOUNT"'
        ),
        *(
            command_line(
                "az eventgrid event-subscription create",
                f"--name {quote(_subscription_name(context, bucket))}",
                '--source-resource-id "$STORAGE_ID"',
                "--endpoint-type storagequeue",
                f'--endpoint "$STORAGE_ID/queueservices/default/queues/{queue}"',
                f"--included-event-types {BLOB_CREATED}",
                *_subject_options(context, bucket),
            )
            for bucket in context.buckets
        ),
    )
    account = Expression("var.storage_account_id")
    endpoint = {"storage_account_id": account, "queue_name": queue}
    blocks = _subscriptions(context, {"storage_queue_endpoint": endpoint})
    yield terraform(Localized("Or use Terraform", "或使用 Terraform"), join_blocks(*blocks))


def _subscriptions(context: SetupContext, extra: Json) -> list[str]:
    """The Terraform blocks of a subscription per container."""
    blocks = [variable("storage_account_id")]
    for number, bucket in enumerate(context.buckets):
        body = {
            "name": _subscription_name(context, bucket),
            "scope": Expression("var.storage_account_id"),
            "included_event_types": [BLOB_CREATED],
            "subject_filter": _subject_filter(context, bucket),
            **extra,
        }
        blocks.append(resource("azurerm_eventgrid_event_subscription", f"relay_{number}", body))
    return blocks


def _subject(context: SetupContext, bucket: str) -> tuple[str, str]:
    """The beginning and the end of an event's subject. Event Grid ignores case by default."""
    key_filter = context.key_filter(bucket)
    prefix = f"/blobServices/default/containers/{bucket}/blobs/{key_filter.prefix}"
    return prefix, key_filter.suffix


def _subject_filter(context: SetupContext, bucket: str) -> Json:
    begins, ends = _subject(context, bucket)
    return {"subject_begins_with": begins, **({"subject_ends_with": ends} if ends else {})}


def _subject_options(context: SetupContext, bucket: str) -> list[str]:
    begins, ends = _subject(context, bucket)
    options = [f"--subject-begins-with {quote(begins)}"]
    return [*options, f"--subject-ends-with {quote(ends)}"] if ends else options


def _subscription_name(context: SetupContext, bucket: str) -> str:
    return f"{context.name}-{bucket}"[:64].rstrip("-")


def _entra_options(context: SetupContext) -> tuple[str, ...]:
    tenant, audience = context.settings.entra_tenant, context.settings.entra_audience
    if not (tenant and audience):
        return ()
    return (
        f"--azure-active-directory-tenant-id {quote(tenant)}",
        f"--azure-active-directory-application-id-or-uri {quote(audience)}",
    )


def _request_body(context: SetupContext, schema: str) -> Json:
    begins, ends = _subject(context, context.buckets[0])
    properties: Json = {"endpointUrl": f"{context.url}?token={context.reference('token')}"}
    if _entra_options(context):
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
                "subjectBeginsWith": begins,
                "subjectEndsWith": ends,
            },
            "eventDeliverySchema": schema,
            "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
        }
    }


def _terraform(context: SetupContext, schema: str) -> str:
    has_entra = bool(_entra_options(context))
    endpoint: Json = {"url": Expression(f'"{context.url}?token=${{var.hook_token}}"')}
    if has_entra:
        endpoint = {
            "url": context.url,
            "active_directory_tenant_id": context.settings.entra_tenant,
            "active_directory_app_id_or_uri": context.settings.entra_audience,
        }
    extra = {
        "event_delivery_schema": schema,
        "webhook_endpoint": endpoint,
        "retry_policy": {"max_delivery_attempts": 30, "event_time_to_live": 1440},
    }
    secrets = [] if has_entra else [secret_variable("hook_token")]
    return join_blocks(*secrets, *_subscriptions(context, extra))
