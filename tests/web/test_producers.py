"""Every producer gets a response that it accepts, within the time that it waits.

Each request goes over a real socket, in the form of that producer, to the app and, where no
certificate is fetched, to the processes of `relay serve`. The status is 200 even for an unreadable
notification: Tigris and the handshake of Azure reject 202, some producers treat 204 and 429 as
final, and a 4xx blocks the queue of MinIO forever.
"""

import base64
import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from relay.model import utc_now
from tests.every_kind import KINDS, open_relay, stored_body
from tests.producers import (
    BLOB,
    BRIDGED,
    CODE,
    EVENTARC,
    HUAWEI,
    JSON,
    NOTIFIED,
    ORACLE_ASKS,
    ORACLE_EVENT,
    ORACLE_SAID,
    PUSHED,
    RESOURCE,
    S3_RECORDS,
    SECRET,
    VALIDATED,
    VALIDATION,
    World,
    basic,
    by_azure,
    by_google,
    by_smn,
    by_sns,
    incoming,
)
from tests.senders import B2_EVENT, OWN, b2, encoded, signed
from tests.signers import ARN, TOPIC, URN, Push
from tests.sources.envelopes.tokens import ENTRA, OIDC, bearer
from tests.web.web_server import serving

TOKEN = "hook-token"
OK = range(200, 300)
ANY = range(200, 500)


@dataclass(frozen=True)
class Producer:
    """A producer. `send(world, now, body)` builds the request for a notification body.

    `body` is a notification, or None for a handshake with the expected `reply`. `timeout` is in
    seconds. `success` are the statuses that the producer accepts. `fetches` marks producers whose
    requests need a certificate or a confirmation request.
    """

    name: str
    kind: str
    keys: dict
    send: Callable
    body: object
    timeout: float
    success: object = OK
    reply: bytes = b""
    reply_headers: dict = field(default_factory=dict)
    fetches: bool = False

    def __str__(self):
        return self.name

    @property
    def source(self):
        return self.name.lower().replace(" ", "-")


def unsigned(headers, query=None):
    """Send the body unsigned; the headers or the query carry the token."""
    return lambda _world, now, body: incoming(body, headers, now, query)


def empty(headers, query=None):
    return lambda _world, now, _body: incoming(b"", headers, now, query)


def s3_record(source, name, key, **fields):
    entity = {"bucket": {"name": "exports"}, "object": {"key": key, "size": 1024, "eTag": "37b5"}}
    entity["object"] |= {"sequencer": "159FB6B233B08AF0"}
    record = {"eventVersion": "2.1", "eventSource": source, "eventName": name, "s3": entity}
    return {**record, "eventTime": "2026-11-24T03:00:00.000Z", **fields}


def in_sns(world, now, body):
    return by_sns(world, now, Message=body.decode("utf-8", "replace"))


def in_smn(world, now, body):
    return by_smn(world, now, message=body.decode("utf-8", "replace"))


def in_mns(source):
    def send(world, now, body):
        message = base64.b64encode(body).decode()
        return Push(now, message=message, target=f"/hooks/{source}").signed(world.signer)

    return send


def in_pubsub(world, now, body):
    message = {**PUSHED["message"], "data": base64.b64encode(body).decode()}
    headers = {**JSON, "user-agent": "CloudPubSub-Google"}
    return by_google({**PUSHED, "message": message}, headers)(world, now)


def signed_request(_world, now, body):
    return incoming(body, signed(SECRET.encode(), body, now), now)


def by_b2(_world, now, body):
    return incoming(body, b2(SECRET, body), now)


def sns_publish(_world, now, body):
    form = {"Action": "Publish", "Message": body, "TopicArn": ARN, "Version": "2010-03-31"}
    headers = {**bearer(TOKEN), "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return incoming(urlencode(form).encode(), headers, now)


def validation_options(_world, now, _body):
    headers = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}
    return replace(incoming(b"", headers, now, {"token": TOKEN}), method="OPTIONS")


def health_check(_world, now, _body):
    return replace(incoming(b"", {}, now), method="HEAD", path="/")


MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "exports/prod/a b.zip",
    "Records": [s3_record("minio:s3", "s3:ObjectCreated:Put", "prod%2Fa+b.zip")],
}
RUSTFS = {**MINIO, "Records": [s3_record("rustfs:s3", "s3:ObjectCreated:Put", "prod%2Fa+b.zip")]}
CEPH = {"Records": [s3_record("ceph:s3", "ObjectCreated:Put", "a+b.zip", eventId="1574430455.1")]}
SEAWEED = {
    "key": "/buckets/exports/prod/a b.zip",
    "event_type": "create",
    "message": {
        "new_entry": {
            "name": "a b.zip",
            "chunks": [{"file_id": "3,01ab", "size": 123, "e_tag": "e", "modified_ts_ns": 1}],
            "attributes": {"file_size": 123, "mtime": 1700000000, "file_mode": 432, "crtime": 1},
        },
        "new_parent_path": "/buckets/exports/prod",
        "signatures": [123],
    },
}
TIGRIS = {
    "events": [
        {
            "eventVersion": "1",
            "eventSource": "tigris",
            "eventName": "OBJECT_CREATED_PUT",
            "eventTime": "2026-11-24T03:00:00Z",
            "bucket": "exports",
            "object": {"key": "a+b.zip", "size": 3, "eTag": "e1"},
        }
    ]
}
OSS = {
    "events": [
        {
            "eventName": "ObjectCreated:PutObject",
            "eventSource": "acs:oss",
            "eventTime": "2026-11-24T03:00:00.000Z",
            "eventVersion": "1.0",
            "oss": {
                "bucket": {"arn": "acs:oss:cn-hangzhou:1:exports", "name": "exports"},
                "object": {"deltaSize": 3, "eTag": "688A7BF4F233DC9C", "key": "a.zip", "size": 3},
                "ossSchemaVersion": "1.0",
                "ruleId": "9adac8e253828f4f",
            },
            "region": "cn-hangzhou",
            "responseElements": {"requestId": "58F9FF2D3DF792092E12044C"},
        }
    ]
}
IBM = {
    "bucket": "exports",
    "endpoint": "",
    "key": "Splash.zip",
    "notification": {
        "bucket_name": "exports",
        "content_type": "application/zip",
        "event_type": "Object:Write",
        "format": "2.0",
        "object_etag": "f3a9dbde30fdf48abc23e5f8b485d6e5",
        "object_length": "1064391",
        "object_name": "Splash.zip",
        "request_id": "67a2048a-1",
        "request_time": "2026-11-24T03:00:00.963Z",
    },
    "operation": "Object:Write",
}
IBM_SAID = {
    **JSON,
    "ce-specversion": "1.0",
    "ce-type": "com.ibm.cloud.cos.document.write",
    "ce-source": "https://cloud.ibm.com/catalog/services/cloud-object-storage/exports",
    "ce-subject": "Splash.zip",
    "ce-id": "1-2",
    "ce-relaytoken": TOKEN,
}
COS = {
    "Records": [
        {
            "cos": {
                "cosSchemaVersion": "1.0",
                "cosObject": {
                    "url": "http://exports-1253970026.cos.ap-chengdu.myqcloud.com/a.zip",
                    "meta": {"x-cos-request-id": "NWMx", "Content-Type": ""},
                    "vid": "",
                    "key": "/1253970026/exports/a.zip",
                    "size": 1029,
                },
                "cosBucket": {"region": "cd", "name": "exports", "appid": "1253970026"},
                "cosNotificationId": "unkown",
            },
            "event": {
                "eventName": "cos:ObjectCreated:Put",
                "eventVersion": "1.0",
                "eventTime": 1545205770,
                "eventSource": "qcs::cos",
                "requestParameters": {"requestSourceIP": "192.168.15.101", "requestHeaders": {}},
                "reqid": 179398952,
            },
        }
    ]
}
TOKEN_QUERY = {"token": TOKEN}
TOKEN_ONLY = {"token": TOKEN}
BY_BEARER = {**JSON, **bearer(TOKEN)}
BY_BASIC = {**JSON, **basic(TOKEN)}
SNS = {"accept": ["sns"], "sns_topic_arns": [ARN]}
BRIDGE = {"accept": ["eventbridge", "bare"], "token": TOKEN, "token_header": "X-Api-Key"}
GRID = {"accept": ["azure"], **ENTRA}

PRODUCERS = [
    Producer("SNS", "s3", SNS, in_sns, S3_RECORDS, 15, fetches=True),
    Producer(
        "SNS raw",
        "s3",
        {"accept": ["sns", "bare"], "token": TOKEN, "sns_topic_arns": [ARN]},
        unsigned(
            {
                "content-type": "text/plain; charset=UTF-8",
                "x-amz-sns-message-type": "Notification",
                "x-amz-sns-rawdelivery": "true",
                "x-amz-sns-topic-arn": ARN,
            },
            TOKEN_QUERY,
        ),
        S3_RECORDS,
        15,
    ),
    Producer(
        "SNS handshake",
        "s3",
        SNS,
        lambda world, now, _: by_sns(world, now, Type="SubscriptionConfirmation"),
        None,
        15,
        fetches=True,
    ),
    Producer(
        "EventBridge",
        "s3",
        BRIDGE,
        unsigned(
            {
                "content-type": "application/json; charset=utf-8",
                "user-agent": "Amazon/EventBridge/ApiDestinations",
                "range": "bytes=0-1048575",
                "connection": "close",
                "x-api-key": TOKEN,
            }
        ),
        BRIDGED,
        5,
    ),
    Producer("MinIO", "minio", TOKEN_ONLY, unsigned(BY_BEARER), MINIO, 60),
    Producer("RustFS", "rustfs", TOKEN_ONLY, unsigned(BY_BEARER), RUSTFS, 30),
    Producer("RustFS health", "rustfs", TOKEN_ONLY, health_check, None, 30, success=ANY),
    Producer(
        "Ceph", "ceph", TOKEN_ONLY, unsigned({**BY_BASIC, "expect": "100-continue"}), CEPH, 10
    ),
    Producer(
        "Ceph CloudEvents",
        "ceph",
        TOKEN_ONLY,
        unsigned(
            {
                **BY_BASIC,
                "ce-specversion": "1.0",
                "ce-type": "com.amazonaws.ObjectCreated:Put",
                "ce-id": "503a4c37.14d2",
                "ce-source": "ceph:s3.zonegroup1.exports",
                "ce-subject": "a+b é.zip".encode().decode("latin-1"),
            }
        ),
        CEPH,
        10,
    ),
    Producer("SeaweedFS", "seaweedfs", TOKEN_ONLY, unsigned(BY_BEARER), SEAWEED, 10),
    Producer(
        "PubSub", "gcs", OIDC, in_pubsub, RESOURCE, 10, {102, 200, 201, 202, 204}, fetches=True
    ),
    Producer(
        "Eventarc",
        "gcs",
        OIDC,
        lambda world, now, body: by_google(body, EVENTARC)(world, now),
        RESOURCE,
        10,
        {102, 200, 201, 202, 204},
        fetches=True,
    ),
    Producer(
        "Event Grid",
        "azure",
        GRID,
        lambda world, now, body: by_azure(body, NOTIFIED)(world, now),
        [BLOB],
        30,
        range(200, 205),
        fetches=True,
    ),
    Producer(
        "Event Grid handshake",
        "azure",
        GRID,
        lambda world, now, _: by_azure([VALIDATION], VALIDATED)(world, now),
        None,
        30,
        {200},
        reply=json.dumps({"validationResponse": CODE}).encode(),
        reply_headers={"content-type": "application/json"},
        fetches=True,
    ),
    Producer(
        "Event Grid question",
        "azure",
        {"accept": ["azure"], "token": TOKEN},
        validation_options,
        None,
        30,
        {200},
        reply_headers={
            "webhook-allowed-origin": "eventgrid.azure.net",
            "webhook-allowed-rate": "*",
            "allow": "POST",
        },
    ),
    Producer("MNS", "oss", {"mns_topics": [TOPIC]}, in_mns("mns"), OSS, 5, fetches=True),
    Producer("B2", "b2", {"secret": SECRET}, by_b2, {"events": [B2_EVENT]}, 3, {200}),
    Producer("Tigris", "tigris", TOKEN_ONLY, unsigned(BY_BEARER), TIGRIS, 10, {200}),
    Producer("SMN", "obs", {"smn_topic_urns": [URN]}, in_smn, S3_RECORDS, 5, fetches=True),
    Producer(
        "SMN handshake",
        "obs",
        {"smn_topic_urns": [URN]},
        lambda world, now, _: by_smn(world, now, type="SubscriptionConfirmation"),
        None,
        5,
        fetches=True,
    ),
    Producer("EventGrid", "obs", TOKEN_ONLY, unsigned(JSON, TOKEN_QUERY), HUAWEI, 5),
    Producer("OCI", "oci", TOKEN_ONLY, unsigned({**ORACLE_SAID, **basic(TOKEN)}), ORACLE_EVENT, 10),
    Producer(
        "OCI handshake",
        "oci",
        TOKEN_ONLY,
        empty({**ORACLE_ASKS, **basic(TOKEN)}),
        None,
        10,
        fetches=True,
    ),
    Producer(
        "IBM", "ibm", {**TOKEN_ONLY, "token_header": "ce-relaytoken"}, unsigned(IBM_SAID), IBM, 9
    ),
    Producer("StorageGRID", "s3", TOKEN_ONLY, sns_publish, S3_RECORDS, 10),
    Producer("COS", "cos", {"secret": SECRET}, signed_request, COS, 10),
    Producer("Script", "s3", {"accept": ["signed"], "secret": SECRET}, signed_request, OWN, 10),
]
NOTIFIERS = [producer for producer in PRODUCERS if producer.body is not None]
WITHOUT_FETCH = [producer for producer in PRODUCERS if not producer.fetches]
SOURCES = {
    producer.source: {"kind": producer.kind, **KINDS[producer.kind], **producer.keys}
    for producer in PRODUCERS
}


class MonotonicClock:
    """The time, at least a millisecond later at each call: ids of notifications sort by it."""

    def __init__(self):
        self.last = utc_now()

    def __call__(self):
        self.last = max(utc_now(), self.last + timedelta(milliseconds=1))
        return self.last


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    """The app on a loopback port, with the ledger and the fake cloud services."""
    folder = tmp_path_factory.mktemp("relay")
    world = World(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with (
        open_relay(folder, SOURCES, world, MonotonicClock()) as (relay, app),
        serving(app) as url,
    ):
        yield SimpleNamespace(url=url, ledger=relay.ledger, world=world, folder=folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory, relay):
    """The processes of `relay serve`, for the producers that fetch nothing."""
    folder = tmp_path_factory.mktemp("served")
    lines = [f'[database]\nurl = "sqlite:///{folder}/relay.db"']
    for producer in WITHOUT_FETCH:
        pairs = [
            f"{name} = {json.dumps(value)}" for name, value in SOURCES[producer.source].items()
        ]
        lines.append("\n".join([f"[sources.{producer.source}]", *pairs]))
    (folder / "relay.toml").write_text("\n\n".join(lines))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "relay", "serve", "--no-worker", "--port", str(port)]
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("RELAY_")}
    environment = {**inherited, "RELAY_CONFIG": str(folder / "relay.toml")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: is_healthy(port), process, folder / "log")
            yield SimpleNamespace(url=f"http://127.0.0.1:{port}", world=relay.world)
        finally:
            process.terminate()
            process.wait(60)


def wait_until(condition, process, log, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def is_healthy(port):
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
    except OSError:
        return False


def post(url, producer, request):
    """Send the request. Returns (status, headers, body); fails after the producer's timeout."""
    address = urlsplit(url)
    target = f"/hooks/{producer.source}" if request.path != "/" else "/"
    target += f"?{request.raw_query}" if request.raw_query else ""
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name.title()}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(request.body)}", "", ""]
    begin = time.monotonic()
    with socket.create_connection(
        (address.hostname, address.port), timeout=producer.timeout
    ) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        if "expect" in request.headers:
            assert connection.recv(4096).startswith(b"HTTP/1.1 100"), (
                "curl would wait a second here"
            )
        connection.sendall(request.body)
        response = http.client.HTTPResponse(connection, method=request.method)
        response.begin()
        body = response.read()
    assert time.monotonic() - begin < producer.timeout
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def build_request(producer, relay, body=None):
    """Build the request of a producer, with the usual notification or another body."""
    body = encoded(producer.body) if body is None else body
    return producer.send(relay.world, utc_now(), body)


def check(producer, response):
    """Check that the producer takes the response for a success."""
    status, headers, body = response
    assert status in producer.success
    if producer.success == ANY:
        return
    assert status == 200
    if producer.body is None:
        assert body == producer.reply
        for name, value in producer.reply_headers.items():
            assert headers[name] == value
    else:
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("producer", PRODUCERS, ids=str)
def test_the_producer_accepts_the_response(relay, producer):
    response = post(relay.url, producer, build_request(producer, relay))
    check(producer, response)
    if producer.body is not None:
        receipt = json.loads(response[2])
        reason = relay.ledger.history.notification(receipt["notification"]).reason
        assert receipt["events"] == 1, reason


@pytest.mark.parametrize("producer", WITHOUT_FETCH, ids=str)
def test_the_producer_accepts_the_response_of_relay_serve(served, producer):
    response = post(served.url, producer, build_request(producer, served))
    check(producer, response)
    if producer.body is not None:
        assert json.loads(response[2])["events"] == 1


@pytest.mark.parametrize("producer", NOTIFIERS, ids=str)
def test_a_repeated_notification_is_recognised(relay, producer):
    """All producers deliver at least once."""
    request = build_request(producer, relay)
    check(producer, post(relay.url, producer, request))
    again = post(relay.url, producer, request)
    check(producer, again)
    assert json.loads(again[2])["events"] == 0


@pytest.mark.parametrize("producer", NOTIFIERS, ids=str)
@pytest.mark.parametrize("body", [b"not json", b"{", b"", b"\xff\xfe", b'{"Records": [{}]}', b"[]"])
def test_an_unreadable_notification_gets_200_too(relay, producer, body):
    """Other statuses would lose it (SNS, EventBridge) or block the queue behind it (MinIO)."""
    # Pub/Sub names the object in headers too: send it before, so that the event is known.
    post(relay.url, producer, build_request(producer, relay))
    request = build_request(producer, relay, body)
    status, _, receipt = post(relay.url, producer, request)
    assert status == 200
    assert json.loads(receipt)["events"] == 0
    stored = relay.ledger.history.notification(json.loads(receipt)["notification"])
    assert stored.body == stored_body(request.body)


def test_a_locked_database_gives_503(relay):
    """Every producer retries after 503. 429 is final for SNS, and so is a 4xx."""
    requests = [(producer, build_request(producer, relay)) for producer in NOTIFIERS]
    patient = [(replace(producer, timeout=60), request) for producer, request in requests]
    lock = sqlite3.connect(relay.folder / "relay.db")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        with ThreadPoolExecutor(len(patient)) as pool:
            responses = list(pool.map(lambda pair: post(relay.url, *pair), patient))
    finally:
        lock.rollback()
        lock.close()
    assert {status for status, _, _ in responses} == {503}
    assert all(int(headers["retry-after"]) > 0 for _, headers, _ in responses)
    for producer, request in requests:
        check(producer, post(relay.url, producer, request))


@pytest.mark.parametrize("producer", NOTIFIERS, ids=str)
def test_a_request_without_credentials_gets_a_challenge(relay, producer):
    request = incoming(encoded(producer.body), JSON)
    status, headers, _ = post(relay.url, producer, request)
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic ")


def test_no_storage_is_contacted_for_a_response(tmp_path, internet):
    """The endpoint of the storage accepts connections but never responds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sources = {
            producer.source: {**SOURCES[producer.source], "endpoint_url": endpoint}
            for producer in NOTIFIERS
        }
        world = World(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        with (
            open_relay(tmp_path, sources, world, MonotonicClock()) as (_, app),
            serving(app) as url,
        ):
            for producer in NOTIFIERS:
                response = post(
                    url, producer, build_request(producer, SimpleNamespace(world=world))
                )
                check(producer, response)
                assert json.loads(response[2])["events"] == 1
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert internet.names == []
