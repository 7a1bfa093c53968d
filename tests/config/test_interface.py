"""The configuration that the interface promises, loaded with the plug-ins there are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from relay.config.load import load
from relay.plugins import settings_class

PROMISED = """
public_url = "https://relay.example.com"

[database]
url = "sqlite:///var/relay.db"

[api]
tokens = ["${RELAY_API_TOKEN}"]

[sources.exports]
kind = "s3"
endpoint_url = "http://127.0.0.1:9000"
region = "us-east-1"
access_key_id = "${S3_KEY}"
secret_access_key = "${S3_SECRET}"
addressing_style = "path"
key_encoding = "auto"
buckets = ["exports"]
accept = ["bare", "sns", "eventbridge"]
token = "${HOOK_TOKEN}"
sqs_queue_url = "https://sqs.us-east-1.amazonaws.com/123456789012/uploads"
scan_every = "15m"

[targets.prod]
kind = "functiongraph"
region = "cn-north-4"
project_id = "0123456789abcdef0123456789abcdef"
endpoint = "https://functiongraph.cn-north-4.myhuaweicloud.com"
auth = "auto"
access_key = "${HUAWEICLOUD_SDK_AK}"
secret_key = "${HUAWEICLOUD_SDK_SK}"
security_token = ""
iam_user = ""
iam_password = ""
iam_domain = ""
max_size = "300MiB"
concurrency = 1
rate = "10/1m"

[channels.ops]
kind = "slack"
url = "${SLACK_WEBHOOK_URL}"
language = "en"
on = ["succeeded", "failed", "skipped"]

[[routes]]
source = "exports"
bucket = "exports"
key = "prod/*.zip"
target = "prod"
func_name = "{function}"
package = "default"
on_conflict = "skip"
export_shape = "require"
channels = ["ops"]
"""
ENVIRON = {
    "RELAY_API_TOKEN": "api-token",
    "S3_KEY": "key",
    "S3_SECRET": "secret",
    "HOOK_TOKEN": "hook-token",
    "HUAWEICLOUD_SDK_AK": "ak",
    "HUAWEICLOUD_SDK_SK": "sk",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T/B/X",
}


def test_what_the_interface_promises_loads(file: Path) -> None:
    file.write_text(PROMISED)
    settings = load(file, ENVIRON, settings_class)
    assert settings.sources["exports"].scan_every == timedelta(minutes=15)
    assert settings.targets["prod"].max_size == 300 * 2**20
    assert settings.channels["ops"].url.get_secret_value().endswith("/T/B/X")
    assert settings.routes[0].channels == ("ops",)
