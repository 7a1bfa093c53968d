"""What each storage makes of our answers: the table of who waits how long for what.

Every row is sent over a real socket as that producer sends it: to the app itself, and to the
processes that `relay serve` starts, where no certificate has to be had. The answers are 200,
whether the notification is understood or not: 202 fails Azure's handshake and Tigris, 204 and 429
are final somewhere, a 4xx blocks MinIO's queue for ever.
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
from tests.every_kind import KINDS, kept, open_house
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
class Row:
    """One producer. `send(world, now, body)`: the request that brings the body as it would.

    `body`: what it says of an object; None: it is a handshake, whose reply's body is `reply`.
    `timeout`: seconds after which it has given up. `success`: the statuses that it takes for one.
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
    """A sender that shows a token, and sends the body as it is."""
    return lambda _world, now, body: incoming(body, headers, now, query)


def answered(headers, query=None):
    return lambda _world, now, _body: incoming(b"", headers, now, query)


def s3_record(source, name, key, **more):
    thing = {"bucket": {"name": "exports"}, "object": {"key": key, "size": 1024, "eTag": "37b5"}}
    thing["object"] |= {"sequencer": "159FB6B233B08AF0"}
    record = {"eventVersion": "2.1", "eventSource": source, "eventName": name, "s3": thing}
    return {**record, "eventTime": "2026-11-24T03:00:00.000Z", **more}


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


def by_script(_world, now, body):
    return incoming(body, signed(SECRET.encode(), body, now), now)


def by_b2(_world, now, body):
    return incoming(body, b2(SECRET, body), now)


def published(_world, now, body):
    form = {"Action": "Publish", "Message": body, "TopicArn": ARN, "Version": "2010-03-31"}
    headers = {**bearer(TOKEN), "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return incoming(urlencode(form).encode(), headers, now)


def asking(_world, now, _body):
    headers = {"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"}
    return replace(incoming(b"", headers, now, {"token": TOKEN}), method="OPTIONS")


def looking(_world, now, _body):
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
SHOWN = {"token": TOKEN}
TOKEN_ALONE = {"token": TOKEN}
BY_BEARER = {**JSON, **bearer(TOKEN)}
BY_BASIC = {**JSON, **basic(TOKEN)}
SNS = {"accept": ["sns"], "sns_topic_arns": [ARN]}
BRIDGE = {"accept": ["eventbridge", "bare"], "token": TOKEN, "token_header": "X-Api-Key"}
GRID = {"accept": ["azure"], **ENTRA}

ROWS = [
    Row("SNS", "s3", SNS, in_sns, S3_RECORDS, 15, fetches=True),
    Row(
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
            SHOWN,
        ),
        S3_RECORDS,
        15,
    ),
    Row(
        "SNS handshake",
        "s3",
        SNS,
        lambda world, now, _: by_sns(world, now, Type="SubscriptionConfirmation"),
        None,
        15,
        fetches=True,
    ),
    Row(
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
    Row("MinIO", "minio", TOKEN_ALONE, unsigned(BY_BEARER), MINIO, 60),
    Row("RustFS", "rustfs", TOKEN_ALONE, unsigned(BY_BEARER), RUSTFS, 30),
    Row("RustFS health", "rustfs", TOKEN_ALONE, looking, None, 30, success=ANY),
    Row("Ceph", "ceph", TOKEN_ALONE, unsigned({**BY_BASIC, "expect": "100-continue"}), CEPH, 10),
    Row(
        "Ceph CloudEvents",
        "ceph",
        TOKEN_ALONE,
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
    Row("SeaweedFS", "seaweedfs", TOKEN_ALONE, unsigned(BY_BEARER), SEAWEED, 10),
    Row("PubSub", "gcs", OIDC, in_pubsub, RESOURCE, 10, {102, 200, 201, 202, 204}, fetches=True),
    Row(
        "Eventarc",
        "gcs",
        OIDC,
        lambda world, now, body: by_google(body, EVENTARC)(world, now),
        RESOURCE,
        10,
        {102, 200, 201, 202, 204},
        fetches=True,
    ),
    Row(
        "Event Grid",
        "azure",
        GRID,
        lambda world, now, body: by_azure(body, NOTIFIED)(world, now),
        [BLOB],
        30,
        range(200, 205),
        fetches=True,
    ),
    Row(
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
    Row(
        "Event Grid question",
        "azure",
        {"accept": ["azure"], "token": TOKEN},
        asking,
        None,
        30,
        {200},
        reply_headers={
            "webhook-allowed-origin": "eventgrid.azure.net",
            "webhook-allowed-rate": "*",
            "allow": "POST",
        },
    ),
    Row("MNS", "oss", {"mns_topics": [TOPIC]}, in_mns("mns"), OSS, 5, fetches=True),
    Row("B2", "b2", {"secret": SECRET}, by_b2, {"events": [B2_EVENT]}, 3, {200}),
    Row("Tigris", "tigris", TOKEN_ALONE, unsigned(BY_BEARER), TIGRIS, 10, {200}),
    Row("SMN", "obs", {"smn_topic_urns": [URN]}, in_smn, S3_RECORDS, 5, fetches=True),
    Row(
        "SMN handshake",
        "obs",
        {"smn_topic_urns": [URN]},
        lambda world, now, _: by_smn(world, now, type="SubscriptionConfirmation"),
        None,
        5,
        fetches=True,
    ),
    Row("EventGrid", "obs", TOKEN_ALONE, unsigned(JSON, SHOWN), HUAWEI, 5),
    Row("OCI", "oci", TOKEN_ALONE, unsigned({**ORACLE_SAID, **basic(TOKEN)}), ORACLE_EVENT, 10),
    Row(
        "OCI handshake",
        "oci",
        TOKEN_ALONE,
        answered({**ORACLE_ASKS, **basic(TOKEN)}),
        None,
        10,
        fetches=True,
    ),
    Row("IBM", "ibm", {**TOKEN_ALONE, "token_header": "ce-relaytoken"}, unsigned(IBM_SAID), IBM, 9),
    Row("StorageGRID", "s3", TOKEN_ALONE, published, S3_RECORDS, 10),
    Row("COS", "cos", {"secret": SECRET}, by_script, COS, 10),
    Row("Script", "s3", {"accept": ["signed"], "secret": SECRET}, by_script, OWN, 10),
]
NEWS = [row for row in ROWS if row.body is not None]
ALONE = [row for row in ROWS if not row.fetches]
SOURCES = {row.source: {"kind": row.kind, **KINDS[row.kind], **row.keys} for row in ROWS}


class Ticking:
    """The time, with no two notifications at once: their ids say which came last."""

    def __init__(self):
        self.last = utc_now()

    def __call__(self):
        self.last = max(utc_now(), self.last + timedelta(milliseconds=1))
        return self.last


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    """The app on a loopback port, and what stands behind it."""
    folder = tmp_path_factory.mktemp("relay")
    world = World(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    with (
        open_house(folder, SOURCES, world, Ticking()) as (relay, app),
        serving(app) as url,
    ):
        yield SimpleNamespace(url=url, ledger=relay.ledger, world=world, folder=folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory, relay):
    """The processes that `relay serve` starts, with the rows that need nobody else."""
    folder = tmp_path_factory.mktemp("served")
    lines = [f'[database]\nurl = "sqlite:///{folder}/relay.db"']
    for row in ALONE:
        pairs = [f"{name} = {json.dumps(one)}" for name, one in SOURCES[row.source].items()]
        lines.append("\n".join([f"[sources.{row.source}]", *pairs]))
    (folder / "relay.toml").write_text("\n\n".join(lines))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "relay", "serve", "--no-worker", "--port", str(port)]
    ours = {name: one for name, one in os.environ.items() if not name.startswith("RELAY_")}
    environment = {**ours, "RELAY_CONFIG": str(folder / "relay.toml")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: answers(port), process, folder / "log")
            yield SimpleNamespace(url=f"http://127.0.0.1:{port}", world=relay.world)
        finally:
            process.terminate()
            process.wait(60)


def until(happened, process, log, seconds=60):
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def answers(port):
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as asked:
            asked.request("GET", "/healthz")
            return asked.getresponse().status == 200
    except OSError:
        return False


def sent(url, row, request):
    """What the producer hears: (status, headers, body), within the time it waits."""
    place = urlsplit(url)
    target = f"/hooks/{row.source}" if request.path != "/" else "/"
    target += f"?{request.raw_query}" if request.raw_query else ""
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {place.netloc}"]
    lines += [f"{name.title()}: {one}" for name, one in request.headers.items()]
    lines += [f"Content-Length: {len(request.body)}", "", ""]
    begin = time.monotonic()
    with socket.create_connection((place.hostname, place.port), timeout=row.timeout) as wire:
        wire.sendall("\r\n".join(lines).encode("latin-1"))
        if "expect" in request.headers:
            assert wire.recv(4096).startswith(b"HTTP/1.1 100"), "curl would wait a second here"
        wire.sendall(request.body)
        answer = http.client.HTTPResponse(wire, method=request.method)
        answer.begin()
        body = answer.read()
    assert time.monotonic() - begin < row.timeout
    return answer.status, {name.lower(): one for name, one in answer.getheaders()}, body


def news(row, relay, body=None):
    """What it sends: of an object, or of something that cannot be understood."""
    body = encoded(row.body) if body is None else body
    return row.send(relay.world, utc_now(), body)


def check(row, answer):
    """The answer is one that the producer takes for a success, and that none takes for else."""
    status, headers, body = answer
    assert status in row.success
    if row.success == ANY:
        return
    assert status == 200
    if row.body is None:
        assert body == row.reply
        for name, one in row.reply_headers.items():
            assert headers[name] == one
    else:
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_producer_is_content(relay, row):
    answer = sent(relay.url, row, news(row, relay))
    check(row, answer)
    if row.body is not None:
        told = json.loads(answer[2])
        assert told["events"] == 1, relay.ledger.history.notification(told["notification"]).reason


@pytest.mark.parametrize("row", ALONE, ids=str)
def test_so_it_is_with_what_relay_serve_starts(served, row):
    answer = sent(served.url, row, news(row, served))
    check(row, answer)
    if row.body is not None:
        assert json.loads(answer[2])["events"] == 1


@pytest.mark.parametrize("row", NEWS, ids=str)
def test_what_it_sends_twice_is_known(relay, row):
    """At least once is what all of them promise; none is told of that."""
    request = news(row, relay)
    check(row, sent(relay.url, row, request))
    again = sent(relay.url, row, request)
    check(row, again)
    assert json.loads(again[2])["events"] == 0


@pytest.mark.parametrize("row", NEWS, ids=str)
@pytest.mark.parametrize("body", [b"not json", b"{", b"", b"\xff\xfe", b'{"Records": [{}]}', b"[]"])
def test_what_cannot_be_understood_is_its_success_all_the_same(relay, row, body):
    """Any other answer would lose it (SNS, EventBridge) or block what comes after it (MinIO)."""
    # Pub/Sub tells of the object in headers too, whatever the body: known before, it is no news.
    sent(relay.url, row, news(row, relay))
    request = news(row, relay, body)
    status, _, told = sent(relay.url, row, request)
    assert status == 200
    assert json.loads(told)["events"] == 0
    stored = relay.ledger.history.notification(json.loads(told)["notification"])
    assert stored.body == kept(request.body)


def test_what_cannot_be_stored_is_asked_for_again_by_all(relay):
    """503, which every producer repeats; never 429, which is final for SNS, and never a 4xx."""
    requests = [(row, news(row, relay)) for row in NEWS]
    patient = [(replace(row, timeout=60), request) for row, request in requests]
    lock = sqlite3.connect(relay.folder / "relay.db")
    lock.execute("BEGIN EXCLUSIVE")
    try:
        with ThreadPoolExecutor(len(patient)) as pool:
            heard = list(pool.map(lambda one: sent(relay.url, *one), patient))
    finally:
        lock.rollback()
        lock.close()
    assert {status for status, _, _ in heard} == {503}
    assert all(int(headers["retry-after"]) > 0 for _, headers, _ in heard)
    for row, request in requests:
        check(row, sent(relay.url, row, request))


@pytest.mark.parametrize("row", NEWS, ids=str)
def test_who_shows_nothing_is_refused_and_told_how_to(relay, row):
    request = incoming(encoded(row.body), JSON)
    status, headers, _ = sent(relay.url, row, request)
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic ")


def test_no_storage_is_asked_before_the_answer(tmp_path, internet):
    """Nor after it, where no worker runs: its endpoint takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sources = {row.source: {**SOURCES[row.source], "endpoint_url": endpoint} for row in NEWS}
        world = World(rsa.generate_private_key(public_exponent=65537, key_size=2048))
        with (
            open_house(tmp_path, sources, world, Ticking()) as (_, app),
            serving(app) as url,
        ):
            for row in NEWS:
                answer = sent(url, row, news(row, SimpleNamespace(world=world)))
                check(row, answer)
                assert json.loads(answer[2])["events"] == 1
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert internet.names == []
