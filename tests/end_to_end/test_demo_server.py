"""`relay demo` as a server: uploads by any S3 client are imported or refused, and reported."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import closing
from datetime import datetime
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
import requests
from botocore.config import Config

from relay.testing.sandbox.exports import make_export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo():
    """The addresses that the demo prints, `output()` with the text so far, and an S3 client."""
    process = subprocess.Popen(
        # SIGINT is ignored, as in a background process of a script; the demo must handle it.
        ["sh", "-c", "trap '' INT; exec \"$0\" -m relay demo", sys.executable],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()
    try:
        wait_until(lambda: any("still running" in line for line in lines), lines, 60)
        addresses = dict(re.findall(r"(?m)^  (\w+) +(\S+)", "".join(lines)))
        client = boto3.client(
            "s3",
            endpoint_url=addresses["store"],
            region_name="us-east-1",
            aws_access_key_id="demo",
            aws_secret_access_key="demo-secret",
            config=Config(s3={"addressing_style": "path"}),
        )
        with closing(client):
            yield SimpleNamespace(**addresses, output=lambda: "".join(lines), s3=client)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=30)
        finally:
            process.kill()
        reader.join(timeout=10)
        process.stdout.close()
    assert code == 0, "".join(lines)
    assert not Path(addresses["settings"]).parent.exists(), "files are left behind"


def wait_until(condition, subject, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail(f"timeout: {subject}")


def put(demo, key, body):
    """Upload; return the delivery from the API once the import and its messages are finished."""
    demo.s3.put_object(Bucket="exports", Key=key, Body=body)
    query = f"deliveries?kind=import&key={key}"
    [listed] = wait_until(lambda: api(demo, query)["items"], key)
    return finished_delivery(demo, listed["id"])


def finished_delivery(demo, delivery_id):
    """Wait until the import is finished and all messages are posted; return the delivery."""

    def delivery_if_finished():
        delivery = api(demo, f"deliveries/{delivery_id}")
        states = {message["state"] for message in delivery["messages"]}
        is_finished = delivery["state"] not in ("pending", "running")
        return delivery if is_finished and states == {"succeeded"} else None

    return wait_until(delivery_if_finished, delivery_id)


def api(demo, path):
    response = requests.get(f"{demo.relay}/api/v1/{path}", timeout=5)
    response.raise_for_status()
    return response.json()


def page(demo, path):
    """The text of a page."""
    response = requests.get(f"{demo.relay}{path}", headers={"Accept-Language": "en"}, timeout=5)
    response.raise_for_status()
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def import_calls(demo):
    calls = requests.get(f"{demo.sandbox}/sandbox/calls", timeout=5).json()
    return [call for call in calls if call["operation"] == "import"]


def received_messages(demo, delivery_id):
    """The bodies of the messages about a delivery, by channel."""
    messages = requests.get(f"{demo.inbox}/messages", timeout=5).json()
    return {item["channel"]: item["body"] for item in messages if delivery_id in item["body"]}


def seconds_until_reported(delivery, began):
    times = [datetime.fromisoformat(item["finished"]) for item in delivery["messages"]]
    return max(times).timestamp() - began


def test_another_export_is_imported_and_reported_within_two_seconds(demo):
    durations = []
    for number in range(3):  # the best of three, because the machine may be busy
        name, began = f"again{number}", time.time()
        delivery = put(demo, f"prod/{name}.zip", make_export(name))
        assert delivery["state"] == "succeeded"
        urn = delivery["result"]["func_urn"]
        assert urn.endswith(f":function:default:{name}")
        wait_until(lambda urn=urn: urn in demo.output(), "the output")
        durations.append(seconds_until_reported(delivery, began))
        if durations[-1] < 2:
            break
    assert min(durations) < 2, durations


def plain_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "not an export")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("text", b"just some text, named .zip", "archive.not_a_zip"),
        ("another", plain_zip(), "export.no_yaml"),
        ("truncated", make_export("truncated")[:-40], "archive.truncated"),
    ],
)
def test_an_invalid_export_is_explained_everywhere_and_never_sent(demo, name, body, code):
    before = import_calls(demo)
    assert before
    delivery = put(demo, f"prod/{name}.zip", body)
    assert (delivery["state"], delivery["error"]["code"]) == ("failed", code)
    message = delivery["error"]["message"]
    assert len(message.split()) > 3
    shown = page(demo, f"/deliveries/{delivery['id']}")
    assert message in shown
    assert delivery["error"]["hint"] in shown
    received = received_messages(demo, delivery["id"])
    assert set(received) == {"slack", "webhook"}
    for body_of_message in received.values():
        assert message in body_of_message
    wait_until(lambda: message in demo.output(), "the output")
    assert import_calls(demo) == before


def post(demo, path, **body):
    return requests.post(f"{demo.relay}/api/v1/{path}", json=body, timeout=5)


def test_a_failed_delivery_is_retriggered_by_the_api(demo):
    fault = {"spec": "import:status=401,code=APIGW.0301"}
    requests.post(f"{demo.sandbox}/sandbox/faults", json=fault, timeout=5).raise_for_status()
    failed = put(demo, "prod/refused.zip", make_export("refused"))
    assert (failed["state"], failed["error"]["code"]) == ("failed", "functiongraph.apigw.0301")
    response = post(demo, f"deliveries/{failed['id']}/retrigger")
    assert response.status_code == 202
    assert response.headers["Location"].endswith(f"/api/v1/deliveries/{failed['id']}")
    delivery = finished_delivery(demo, failed["id"])
    assert delivery["state"] == "succeeded"
    assert [attempt["trigger"] for attempt in delivery["attempts"]] == ["automatic", "manual"]


@pytest.fixture
def unannounced(demo):
    """An export in the bucket without a notification."""
    before = demo.s3.get_bucket_notification_configuration(Bucket="exports")
    configuration = {"QueueConfigurations": before["QueueConfigurations"]}
    demo.s3.put_bucket_notification_configuration(Bucket="exports", NotificationConfiguration={})
    demo.s3.put_object(Bucket="exports", Key="prod/quiet.zip", Body=make_export("quiet"))
    yield {"source": "exports", "bucket": "exports", "key": "prod/quiet.zip"}
    demo.s3.put_bucket_notification_configuration(
        Bucket="exports", NotificationConfiguration=configuration
    )


def snapshot(demo):
    """Everything that a dry run could change, in Relay and at the target."""
    lists = [api(demo, f"{name}?limit=200") for name in ("deliveries", "notifications")]
    functions = requests.get(f"{demo.sandbox}/sandbox/functions", timeout=5).json()
    messages = requests.get(f"{demo.inbox}/messages", timeout=5).json()
    return lists, functions, messages, import_calls(demo)


def test_a_submission_imports_an_unannounced_object_and_a_dry_run_only_plans_it(demo, unannounced):
    before = snapshot(demo)
    plan = post(demo, "submissions", **unannounced, dry_run=True)
    assert plan.status_code == 200
    assert plan.json()["would"] == {"action": "create", "func_name": "quiet"}
    assert snapshot(demo) == before
    submitted = post(demo, "submissions", **unannounced)
    assert submitted.status_code == 202
    (delivery,) = submitted.json()["deliveries"]
    assert finished_delivery(demo, delivery["id"])["state"] == "succeeded"
    assert len(import_calls(demo)) == len(before[3]) + 1
