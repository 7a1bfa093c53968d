"""relay.toml of a world: the real settings, with short times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.world import World

WEBHOOK_SECRET = "whsec_dGhlLXNlY3JldC1vZi10aGUtdG9ydHVyZS1vZi1yZWxheQ=="
HOOK_TOKEN = "hook-token-of-the-torture"


@dataclass
class Options:
    """Settings that scenarios change, under their names.

    `versioned`: versions in the bucket. `channels`: the names of the channels.
    """

    lease: str = "30s"
    attempts: int = 20
    gone_after: str = "2s"
    first_delay: str = "100ms"
    longest_delay: str = "1s"
    stuck_after: str = "15m"
    workers: int = 4
    concurrency: int = 4
    on_conflict: str = "skip"
    connect_timeout: str = "3s"
    read_timeout: str = "5s"
    versioned: bool = True
    kind: str = "s3"
    source: str = ""
    target: str = ""
    channel: str = ""
    database: str = ""
    channels: tuple[str, ...] = ("ops",)
    more: str = ""


def render(world: World) -> str:
    """Return the text of the file. `source`, `target` and `channel` are lines of their tables."""
    sandbox, options = world.sandbox, world.options
    channel = {"url": world.inbox.url, "secret": WEBHOOK_SECRET, "more": options.channel}
    channels = "".join(_CHANNEL.format(name=name, **channel) for name in options.channels)
    return f"""
[database]
url = "{options.database or world.url}"

[delivery]
attempts = {options.attempts}
first_delay = "{options.first_delay}"
longest_delay = "{options.longest_delay}"
lease = "{options.lease}"
gone_after = "{options.gone_after}"
stuck_after = "{options.stuck_after}"
workers = {options.workers}

[outbound]
allow_private = ["127.0.0.0/8", "10.0.0.0/8"]
connect_timeout = "{options.connect_timeout}"
read_timeout = "{options.read_timeout}"

[sources.exports]
kind = "{options.kind}"
endpoint_url = "{world.bucket.url}"
region = "us-east-1"
access_key_id = "test"
secret_access_key = "test-secret"
addressing_style = "path"
buckets = ["exports"]
token = "{HOOK_TOKEN}"
{options.source}

[targets.prod]
kind = "functiongraph"
region = "{sandbox.region}"
project_id = "{sandbox.project_id}"
endpoint = "{sandbox.url}"
access_key = "{sandbox.access_key}"
secret_key = "{sandbox.secret_key}"
iam_user = "{sandbox.iam_user}"
iam_password = "{sandbox.iam_password}"
iam_domain = "{sandbox.iam_domain}"
iam_endpoint = "{sandbox.url}"
concurrency = {options.concurrency}
{options.target}

{channels}

[[routes]]
source = "exports"
key = "prod/*.zip"
target = "prod"
on_conflict = "{options.on_conflict}"
channels = {list(options.channels)}
{options.more}
"""


_CHANNEL = """
[channels.{name}]
kind = "webhook"
url = "{url}/webhook/{name}"
secret = "{secret}"
{more}
"""
