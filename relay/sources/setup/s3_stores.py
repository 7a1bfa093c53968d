"""What to type at S3-compatible stores of your own: MinIO, RustFS, Ceph, SeaweedFS, and others.

Sources: docs of `mc admin config`, RustFS's environment, Ceph's "Bucket Notifications", SeaweedFS's
notification/webhook/types.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Localized
from relay.sources.setup.aws import put_notifications, steps
from relay.sources.setup.s3_notifications import QUEUES, TOPICS
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    as_json,
    call,
    command,
    filter_options,
    generic,
    quoted,
    words,
)

MINIO_ARN = "arn:minio:sqs::relay:webhook"
RUSTFS_ARN = "arn:rustfs:sqs:{region}:relay:webhook"
"""The store's region stands in it; the target's name in lower case."""

CEPH_ARN = "arn:aws:sns:{zone}::{name}"


def s3(door: SetupContext) -> Iterator[Step]:
    """AWS, or any other store with S3's API."""
    if _is_aws(door):
        yield from steps(door)
        return
    yield from generic(door)
    yield words(
        Localized(
            "If the store has a kind of its own (minio, rustfs, ceph, seaweedfs, tigris, b2, r2 "
            "...), use that kind: its setup is exact. Else the store's manual says how its "
            "webhook becomes an ARN; --arn ARN prints the rule for it, --apply makes it",
            "若该存储有专用 kind（minio、rustfs、ceph、seaweedfs、tigris、b2、r2 等），请使用它。"
            "否则请查阅存储手册获得 webhook 的 ARN; --arn ARN 输出相应规则，--apply 直接写入",
        )
    )
    if door.arn:
        yield from _bucket_rules(door, door.arn)


def minio(door: SetupContext) -> Iterator[Step]:
    token = f'auth_token="{door.shown("token")}"'
    yield command(
        Localized(
            "Tell MinIO of the hook (ALIAS: what `mc alias set` called it). Without queue_dir it "
            "loses what cannot be sent at once; the folder must outlive restarts",
            "在 MinIO 注册 hook（ALIAS 为 mc 中的别名）。没有 queue_dir 时，"
            "无法立即发送的通知会丢失",
        ),
        call(
            "mc admin config set ALIAS notify_webhook:relay",
            f"endpoint={quoted(door.url)}",
            token,
            'queue_dir="/data/.relay-events"',
            'queue_limit="100000"',
        ),
        "mc admin service restart ALIAS",
    )
    yield command(
        Localized("Or in its environment", "或使用环境变量"),
        "export MINIO_NOTIFY_WEBHOOK_ENABLE_relay=on",
        f"export MINIO_NOTIFY_WEBHOOK_ENDPOINT_relay={quoted(door.url)}",
        f'export MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_relay="{door.shown("token")}"',
        "export MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_relay=/data/.relay-events",
        "export MINIO_NOTIFY_WEBHOOK_QUEUE_LIMIT_relay=100000",
    )
    arn = door.arn or MINIO_ARN
    yield command(
        Localized(
            "Which objects are told of (or let --apply do it)", "选择要通知的对象（或使用 --apply）"
        ),
        *(_mc_event(door, bucket, arn) for bucket in door.buckets),
    )
    yield from _waits("MinIO")


def rustfs(door: SetupContext) -> Iterator[Step]:
    yield command(
        Localized(
            "In RustFS's environment; the folder must outlive restarts. For a private address "
            "also RUSTFS_OUTBOUND_ALLOW_ORIGINS",
            "RustFS 的环境变量；目录需持久化。私有地址还需设置 RUSTFS_OUTBOUND_ALLOW_ORIGINS",
        ),
        "export RUSTFS_NOTIFY_ENABLE=true",
        "export RUSTFS_NOTIFY_WEBHOOK_ENABLE_RELAY=on",
        f"export RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_RELAY={quoted(door.url)}",
        f'export RUSTFS_NOTIFY_WEBHOOK_AUTH_TOKEN_RELAY="{door.shown("token")}"',
        "export RUSTFS_NOTIFY_WEBHOOK_QUEUE_DIR_RELAY=/logs/notify-relay",
    )
    yield from _bucket_rules(door, rustfs_arn(door))


def rustfs_arn(door: SetupContext) -> str:
    return door.arn or RUSTFS_ARN.format(region=door.text("region", "us-east-1"))


def ceph(door: SetupContext) -> Iterator[Step]:
    """A topic by RGW's SNS API, persistent, and the buckets' rules."""
    yield as_json(
        Localized(
            "The topic. `persistent`: kept and sent again until Relay has it; without it, what "
            "cannot be sent at once is lost. Put the token in place of "
            f"{door.shown('token')}, with other characters than letters and digits "
            "percent-encoded",
            "主题。persistent 表示保留并重试。请以 token 替换 "
            f"{door.shown('token')}（特殊字符需百分号编码）",
        ),
        ceph_attributes(door, door.shown("token")),
        "topic.json",
    )
    endpoint = _endpoint(door)
    region = f"--region {door.text('region', 'default')}"
    yield command(
        Localized(
            "Make it; the answer names its ARN (over HTTPS only: RGW takes no credentials of an "
            "endpoint otherwise)",
            "创建主题，输出中有其 ARN（必须使用 HTTPS，否则 RGW 不接受 endpoint 中的凭证）",
        ),
        call(
            "aws sns create-topic",
            *endpoint,
            region,
            f"--name {door.name}",
            "--attributes file://topic.json",
        ),
    )
    yield from put_notifications(door, ceph_arn(door), TOPICS, *endpoint, region)


def ceph_arn(door: SetupContext) -> str:
    """The topic's ARN, with the zone group as RGW's first is called unless `region` says."""
    return door.arn or CEPH_ARN.format(zone=door.text("region", "default"), name=door.name)


def ceph_attributes(door: SetupContext, token: str) -> dict[str, str]:
    """The attributes of a topic of RGW that posts to the hook, with the token as password."""
    scheme, _, rest = door.url.partition("://")
    return {
        "push-endpoint": f"{scheme}://relay:{token}@{rest}",
        "persistent": "true",
        "verify-ssl": "true",
    }


def seaweedfs(door: SetupContext) -> Iterator[Step]:
    prefixes = ", ".join(f'"/buckets/{bucket}/"' for bucket in door.buckets)
    text = (
        "[notification.webhook]\nenabled = true\n"
        f'endpoint = "{door.url}"\nbearer_token = "{door.shown("token")}"\n'
        'event_types = ["create", "update", "rename"]\n'
        f"path_prefixes = [{prefixes}]\nmax_retries = 10\n"
        "backoff_seconds = 3\nmax_backoff_seconds = 60\n"
    )
    yield Step(
        Localized(
            "For the filer, in its folder, ~/.seaweedfs or /etc/seaweedfs. Put the token in place "
            f"of {door.shown('token')}, and restart the filer",
            f"供 filer 使用：以 token 替换 {door.shown('token')} 后重启 filer",
        ),
        "toml",
        text,
        "notification.toml",
    )
    yield words(
        Localized(
            "The filer keeps what waits in memory only and gives up after max_retries: set "
            "scan_every, so that a scan finds what was lost",
            "filer 只在内存中保留待发送的通知，重试次数用尽即放弃：请设置 scan_every 以便扫描补漏",
        )
    )


def tigris(door: SetupContext) -> Iterator[Step]:
    yield words(
        Localized(
            f"In Tigris's dashboard, for each of {', '.join(door.buckets)}: Settings > Object "
            f"Notifications; webhook {door.url}, authentication Token = the value of "
            f"{door.shown('token')}",
            f"在 Tigris 控制台中为 {', '.join(door.buckets)} 打开 Settings > Object Notifications；"
            f"webhook 为 {door.url}, Token 为 {door.shown('token')} 的值",
        )
    )
    yield as_json(
        Localized(
            "The same for its API, as object_notifications",
            "或在其 API 中作为 object_notifications",
        ),
        {
            "object_notifications": {
                "enabled": True,
                "webhook": door.url,
                "auth": {"token": door.shown("token")},
            }
        },
    )
    yield words(
        Localized(
            "Tigris tries three times, then never again: set scan_every",
            "Tigris 只重试三次：请设置 scan_every",
        )
    )


def _bucket_rules(door: SetupContext, arn: str) -> Iterator[Step]:
    place = TOPICS if ":sns:" in arn else QUEUES
    region = f"--region {door.text('region', 'us-east-1')}"
    yield from put_notifications(door, arn, place, *_endpoint(door), region)


def _endpoint(door: SetupContext) -> tuple[str, ...]:
    url = door.text("endpoint_url")
    return (f"--endpoint-url {quoted(url)}",) if url else ()


def _mc_event(door: SetupContext, bucket: str, arn: str) -> str:
    target = quoted(f"ALIAS/{bucket}")
    return call(f"mc event add {target} {arn}", "--event put", *filter_options(door, bucket))


def _waits(store: str) -> Iterator[Step]:
    yield words(
        Localized(
            f"{store} sends one after the other: while Relay does not answer, all later events "
            "wait. Watch its queue_dir, and set scan_every",
            f"{store} 逐个发送：Relay 未应答时其后的事件都会等待。"
            "请关注 queue_dir 并设置 scan_every",
        )
    )


def _is_aws(door: SetupContext) -> bool:
    url = door.text("endpoint_url")
    return not url or "amazonaws.com" in url
