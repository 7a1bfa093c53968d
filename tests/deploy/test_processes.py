"""What deploy/ starts really runs: gunicorn's file, the image's content, the composed processes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from relay.testing.sandbox.exports import make_export

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


def until(happened, seconds=30.0):
    """The first true answer of `happened`; the test fails when there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := happened():
            return answer
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def answers(url):
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    return kept | {name: str(value) for name, value in more.items()}


@pytest.fixture
def s3():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with closing(boto3.client("s3", endpoint_url=url, **KEYS)) as client:
        yield client
    server.stop()


def test_gunicorn_takes_the_file(tmp_path):
    command = [BIN / "gunicorn", "--check-config", "--config", DEPLOY / "gunicorn.conf.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [*command, "--print-config"],
        cwd=tmp_path,
        env=environment(PORT=1234, WEB_CONCURRENCY=3),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    told = dict(re.findall(r"(?m)^(\w+)\s+= (.*)$", shown))
    assert told["worker_class"] == "relay.app.gunicorn_worker.Worker"
    assert (told["threads"], told["workers"]) == ("32", "3")
    assert told["bind"] == "['0.0.0.0:1234']"
    assert told["control_socket_disable"] == "True"
    assert told["max_requests"] == "0"
    assert "post_worker_init" in told["post_worker_init"]
    # A hook's query may hold its token: a log of whole requests would keep it.
    assert "%(r)s" not in told["access_log_format"]
    assert "x-request-id" in told["access_log_format"]


def test_gunicorn_with_the_file_serves_delivers_and_ends(tmp_path, free_ports, start):
    inbox = tmp_path / "folder"
    inbox.mkdir()
    config = tmp_path / "relay.toml"
    # Without scans: the first one would mark the file as seen, if it came before the watch.
    keys = f'folder = "{inbox}"\nsettle = "0"\nscan_every = "0"\n'
    config.write_text(f'[sources.here]\nkind = "local"\n{keys}')
    arguments = [BIN / "gunicorn", "--config", DEPLOY / "gunicorn.conf.py"]
    arguments += ["--bind", f"127.0.0.1:{free_ports[0]}", "--access-logfile", tmp_path / "access"]
    (tmp_path / "var").mkdir()
    with (tmp_path / "log").open("w") as log:
        start(arguments, cwd=tmp_path, env=environment(), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{free_ports[0]}"
    until(lambda: answers(f"{url}/readyz"))
    # The hook of the file started the worker: it watches the folder.
    (inbox / "a.zip").write_bytes(b"not a zip")
    found = until(lambda: requests.get(f"{url}/api/v1/deliveries", timeout=5).json()["items"])
    assert found[0]["key"] == "a.zip"
    told = requests.get(f"{url}/healthz?token=hush", headers={"X-Request-Id": "r-1"}, timeout=5)
    assert told.headers["X-Request-Id"] == "r-1"
    line = until(
        lambda: [one for one in (tmp_path / "access").read_text().splitlines() if "r-1" in one]
    )
    assert "/healthz" in line[0]
    assert "hush" not in line[0]


def test_senders_that_send_nothing_keep_nobody_out(tmp_path, free_ports, start):
    serve = ["serve", "--no-worker", "--port", str(free_ports[0])]
    arguments = [sys.executable, "-m", "relay", *serve]
    (tmp_path / "relay.toml").write_text("")
    (tmp_path / "var").mkdir()
    with (tmp_path / "log").open("w") as log:
        more = {"PYTHONPATH": ROOT, "RELAY_CONFIG": tmp_path / "relay.toml"}
        start(arguments, cwd=tmp_path, env=environment(**more), stdout=log, stderr=log)
    until(lambda: answers(f"http://127.0.0.1:{free_ports[0]}/readyz"))
    with ExitStack() as stack:
        for _ in range(100):  # three for each thread
            stack.enter_context(socket.create_connection(("127.0.0.1", free_ports[0])))
        # Each thread that waited for one would do so for five seconds.
        answer = requests.get(f"http://127.0.0.1:{free_ports[0]}/readyz", timeout=4)
    assert answer.status_code == 200


@pytest.fixture
def image(tmp_path, dockerfile):
    """What the Dockerfile copies, where it copies it."""
    folder = tmp_path / "image"
    for name, arguments in dockerfile:
        if name != "COPY" or arguments[0].startswith("--"):
            continue
        *sources, target = arguments
        for source in sources:
            at = folder / target / (source.rpartition("/")[2] if target.endswith("/") else "")
            at.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, at)
            else:
                shutil.copy(ROOT / source, at)
    (folder / "var").mkdir()
    return folder


def test_the_image_holds_all_that_serving_needs(image, dockerfile, free_ports, start):
    instructions = dict(dockerfile)
    inside = environment(PYTHONPATH=image, PYTHONDONTWRITEBYTECODE=1, PORT=free_ports[0])
    where = [sys.executable, "-c", "import relay, handlers; print(relay.__file__)"]
    found = subprocess.run(where, cwd=image, env=inside, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(image))
    health = [sys.executable, *instructions["HEALTHCHECK"][1:]]

    def healthy():
        return subprocess.run(health, env=inside, capture_output=True, check=False).returncode == 0

    assert not healthy()
    command = [sys.executable, *instructions["ENTRYPOINT"][1:], *instructions["CMD"]]
    with (image / "var/log").open("w") as log:
        start(command, cwd=image, env=inside, stdout=log, stderr=log)
    until(healthy)
    page = requests.get(f"http://127.0.0.1:{free_ports[0]}/", timeout=5)
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]


def test_the_bucket_is_made_and_announces_as_often_as_it_is_asked_to(s3):
    with closing(boto3.client("sqs", endpoint_url=s3.meta.endpoint_url, **KEYS)) as sqs:
        queue = sqs.create_queue(QueueName="uploads")["QueueUrl"]
        asked = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        inside = environment(
            S3_ENDPOINT=s3.meta.endpoint_url, S3_KEY="key", S3_SECRET="secret", BUCKET="exports"
        )
        command = [sys.executable, DEPLOY / "bucket.py", asked["Attributes"]["QueueArn"]]
        for _ in range(2):
            subprocess.run(command, env=inside, check=True, capture_output=True)
        s3.put_object(Bucket="exports", Key="a.zip", Body=b"zip")
        received = [
            json.loads(message["Body"])
            for message in sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )["Messages"]
        ]
    names = [one["eventName"] for told in received for one in told.get("Records", ())]
    assert names == ["ObjectCreated:Put"]


def announcement(bucket, key, size, etag):
    """What RustFS posts for an upload."""
    return {
        "EventName": "s3:ObjectCreated:Put",
        "Key": f"{bucket}/{key}",
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "rustfs:s3",
                "eventName": "s3:ObjectCreated:Put",
                "eventTime": "2026-11-24T06:00:00.000Z",
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                    "object": {"key": key, "size": size, "eTag": etag},
                },
            }
        ],
    }


def run_as_composed(start, folder, service, environ, port=None):
    """Starts the service's own command on loopback, on `port` in place of the composed one."""
    arguments = ["127.0.0.1" if one == "0.0.0.0" else one for one in service["command"]]
    if port:
        arguments[arguments.index("--port") + 1] = str(port)
    with (folder / f"log of {arguments[0]}").open("w") as log:
        command = [sys.executable, "-m", "relay", *arguments]
        start(command, cwd=folder, env=environ, stdout=log, stderr=log)


def test_the_composed_processes_import_an_upload(
    tmp_path, compose, examples, s3, free_ports, start
):
    """compose.yaml's own commands and secrets, with ports of loopback in place of names."""
    web, sandbox = (f"http://127.0.0.1:{port}" for port in free_ports)
    config = (DEPLOY / "relay.toml").read_text()
    config = config.replace("http://store:9000", s3.meta.endpoint_url)
    (tmp_path / "relay.toml").write_text(config.replace("http://sandbox:8090", sandbox))
    (tmp_path / "var").mkdir()
    services, secrets = compose["services"], environment(**examples)
    run_as_composed(start, tmp_path, services["sandbox"], secrets, free_ports[1])
    run_as_composed(start, tmp_path, services["web"], secrets, free_ports[0])
    until(lambda: answers(f"{web}/readyz") and answers(f"{sandbox}/sandbox/functions"))
    run_as_composed(start, tmp_path, services["worker"], secrets)

    s3.create_bucket(Bucket="exports")
    body = make_export("hello")
    etag = s3.put_object(Bucket="exports", Key="hello.zip", Body=body)["ETag"].strip('"')
    told = requests.post(
        f"{web}/hooks/exports",
        json=announcement("exports", "hello.zip", len(body), etag),
        headers={"Authorization": f"Bearer {examples['HOOK_TOKEN']}"},
        timeout=10,
    )
    assert told.json().get("events") == 1, told.text

    def ended():
        token = {"Authorization": f"Bearer {examples['RELAY_API_TOKEN']}"}
        (one,) = requests.get(f"{web}/api/v1/deliveries", headers=token, timeout=5).json()["items"]
        return one if one["state"] not in ("pending", "running") else None

    delivery = until(ended)
    assert delivery["state"] == "succeeded", delivery
    assert "hello" in requests.get(f"{sandbox}/sandbox/functions", timeout=5).text
