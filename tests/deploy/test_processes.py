"""The gunicorn file, the content of the image and the composed processes really run."""

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


def wait_until(condition, seconds=30.0):
    """Wait for a true value of `condition` and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail("the condition was not met in time")


def responds(url):
    try:
        return requests.get(url, timeout=5).status_code == 200
    except (requests.ConnectionError, requests.Timeout):
        return False


def environment(**variables):
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("RELAY_")}
    return inherited | {name: str(value) for name, value in variables.items()}


@pytest.fixture
def s3():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    with closing(boto3.client("s3", endpoint_url=url, **KEYS)) as client:
        yield client
    server.stop()


def test_gunicorn_accepts_the_file(tmp_path):
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
    config = dict(re.findall(r"(?m)^(\w+)\s+= (.*)$", shown))
    assert config["worker_class"] == "relay.app.gunicorn_worker.GunicornWorker"
    assert (config["threads"], config["workers"]) == ("32", "3")
    assert config["bind"] == "['0.0.0.0:1234']"
    assert config["control_socket_disable"] == "True"
    assert config["max_requests"] == "0"
    assert "post_worker_init" in config["post_worker_init"]
    # The query of a hook may contain a token: the log must not have the whole request line.
    assert "%(r)s" not in config["access_log_format"]
    assert "x-request-id" in config["access_log_format"]


def test_gunicorn_with_the_file_serves_delivers_and_stops(tmp_path, free_ports, start):
    inbox = tmp_path / "folder"
    inbox.mkdir()
    config = tmp_path / "relay.toml"
    # Without scans: a first scan before the watch would mark the file as seen.
    keys = f'folder = "{inbox}"\nsettle = "0"\nscan_every = "0"\n'
    config.write_text(f'[sources.here]\nkind = "local"\n{keys}')
    arguments = [BIN / "gunicorn", "--config", DEPLOY / "gunicorn.conf.py"]
    arguments += ["--bind", f"127.0.0.1:{free_ports[0]}", "--access-logfile", tmp_path / "access"]
    (tmp_path / "var").mkdir()
    with (tmp_path / "log").open("w") as log:
        start(arguments, cwd=tmp_path, env=environment(), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{free_ports[0]}"
    wait_until(lambda: responds(f"{url}/readyz"))
    # The post_worker_init hook has started the worker, which watches the folder.
    (inbox / "a.zip").write_bytes(b"not a zip")
    deliveries = wait_until(
        lambda: requests.get(f"{url}/api/v1/deliveries", timeout=30).json()["items"]
    )
    assert deliveries[0]["key"] == "a.zip"
    response = requests.get(f"{url}/healthz?token=hush", headers={"X-Request-Id": "r-1"}, timeout=5)
    assert response.headers["X-Request-Id"] == "r-1"
    access = tmp_path / "access"
    line = wait_until(lambda: [row for row in access.read_text().splitlines() if "r-1" in row])
    assert "/healthz" in line[0]
    assert "hush" not in line[0]


def test_idle_connections_do_not_block_other_clients(tmp_path, free_ports, start):
    serve = ["serve", "--no-worker", "--port", str(free_ports[0])]
    arguments = [sys.executable, "-m", "relay", *serve]
    (tmp_path / "relay.toml").write_text("")
    (tmp_path / "var").mkdir()
    with (tmp_path / "log").open("w") as log:
        variables = {"PYTHONPATH": ROOT, "RELAY_CONFIG": tmp_path / "relay.toml"}
        start(arguments, cwd=tmp_path, env=environment(**variables), stdout=log, stderr=log)
    wait_until(lambda: responds(f"http://127.0.0.1:{free_ports[0]}/readyz"))
    with ExitStack() as stack:
        for _ in range(100):  # three for each thread
            stack.enter_context(socket.create_connection(("127.0.0.1", free_ports[0])))
        # A thread that waited for an idle connection would be blocked for five seconds.
        response = requests.get(f"http://127.0.0.1:{free_ports[0]}/readyz", timeout=4)
    assert response.status_code == 200


@pytest.fixture
def image(tmp_path, dockerfile):
    """A folder with the files that the Dockerfile copies."""
    folder = tmp_path / "image"
    for name, arguments in dockerfile:
        if name != "COPY" or arguments[0].startswith("--"):
            continue
        *sources, target = arguments
        for source in sources:
            path = folder / target / (source.rpartition("/")[2] if target.endswith("/") else "")
            path.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, path)
            else:
                shutil.copy(ROOT / source, path)
    (folder / "var").mkdir()
    return folder


def test_the_image_has_everything_that_serving_needs(image, dockerfile, free_ports, start):
    instructions = dict(dockerfile)
    inside = environment(PYTHONPATH=image, PYTHONDONTWRITEBYTECODE=1, PORT=free_ports[0])
    command = [sys.executable, "-c", "import relay, handlers; print(relay.__file__)"]
    result = subprocess.run(
        command, cwd=image, env=inside, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(str(image))
    health = [sys.executable, *instructions["HEALTHCHECK"][1:]]

    def is_healthy():
        return subprocess.run(health, env=inside, capture_output=True, check=False).returncode == 0

    assert not is_healthy()
    command = [sys.executable, *instructions["ENTRYPOINT"][1:], *instructions["CMD"]]
    with (image / "var/log").open("w") as log:
        start(command, cwd=image, env=inside, stdout=log, stderr=log)
    wait_until(is_healthy)
    page = requests.get(f"http://127.0.0.1:{free_ports[0]}/", timeout=5)
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]


def test_the_bucket_script_is_idempotent_and_configures_notifications(s3):
    with closing(boto3.client("sqs", endpoint_url=s3.meta.endpoint_url, **KEYS)) as sqs:
        queue = sqs.create_queue(QueueName="uploads")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        inside = environment(
            S3_ENDPOINT=s3.meta.endpoint_url, S3_KEY="key", S3_SECRET="secret", BUCKET="exports"
        )
        command = [sys.executable, DEPLOY / "bucket.py", attributes["Attributes"]["QueueArn"]]
        for _ in range(2):
            subprocess.run(command, env=inside, check=True, capture_output=True)
        s3.put_object(Bucket="exports", Key="a.zip", Body=b"zip")
        received = [
            json.loads(message["Body"])
            for message in sqs.receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
            )["Messages"]
        ]
    names = [item["eventName"] for message in received for item in message.get("Records", ())]
    assert names == ["ObjectCreated:Put"]


def rustfs_notification(bucket, key, size, etag):
    """The body that RustFS posts for an upload."""
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
    """Start the command of a service on loopback, on another port if `port` is given."""
    arguments = [word.replace("0.0.0.0", "127.0.0.1") for word in service["command"]]
    if port:
        arguments[arguments.index("--port") + 1] = str(port)
    with (folder / f"log of {arguments[0]}").open("w") as log:
        command = [sys.executable, "-m", "relay", *arguments]
        start(command, cwd=folder, env=environ, stdout=log, stderr=log)


def test_the_composed_processes_import_an_upload(
    tmp_path, compose, examples, s3, free_ports, start
):
    """With the commands and secrets of compose.yaml; loopback ports replace the host names."""
    web, sandbox = (f"http://127.0.0.1:{port}" for port in free_ports)
    config = (DEPLOY / "relay.toml").read_text()
    config = config.replace("http://store:9000", s3.meta.endpoint_url)
    (tmp_path / "relay.toml").write_text(config.replace("http://sandbox:8090", sandbox))
    (tmp_path / "var").mkdir()
    services, secrets = compose["services"], environment(**examples)
    run_as_composed(start, tmp_path, services["sandbox"], secrets, free_ports[1])
    run_as_composed(start, tmp_path, services["web"], secrets, free_ports[0])
    wait_until(lambda: responds(f"{web}/readyz") and responds(f"{sandbox}/sandbox/functions"))
    run_as_composed(start, tmp_path, services["worker"], secrets)

    s3.create_bucket(Bucket="exports")
    body = make_export("hello")
    etag = s3.put_object(Bucket="exports", Key="hello.zip", Body=body)["ETag"].strip('"')
    response = requests.post(
        f"{web}/hooks/exports",
        json=rustfs_notification("exports", "hello.zip", len(body), etag),
        headers={"Authorization": f"Bearer {examples['HOOK_TOKEN']}"},
        timeout=10,
    )
    assert response.json().get("events") == 1, response.text

    def finished_delivery():
        token = {"Authorization": f"Bearer {examples['RELAY_API_TOKEN']}"}
        listed = requests.get(f"{web}/api/v1/deliveries", headers=token, timeout=5).json()
        (delivery,) = listed["items"]
        return delivery if delivery["state"] not in ("pending", "running") else None

    delivery = wait_until(finished_delivery)
    assert delivery["state"] == "succeeded", delivery
    assert "hello" in requests.get(f"{sandbox}/sandbox/functions", timeout=5).text
