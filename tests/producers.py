"""Valid requests of every envelope, with the settings that a source needs for them.

Used for: forgeries (tests/sources/envelopes/test_forgery.py), mangled bodies
(tests/notifications/test_mangled.py), and the table of how senders react to responses
(tests/web/test_producers.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from relay.errors import TemporaryFailure
from relay.model import Incoming
from tests.senders import B2_EVENT, OWN, b2, encoded, signed
from tests.signers import (
    ARN,
    MNS,
    MNS_PEM,
    SMN,
    SMN_PEM,
    SNS,
    SNS_PEM,
    TOPIC,
    URN,
    Push,
    Signer,
    confirm_smn,
    confirm_sns,
    record,
    smn,
    sns,
)
from tests.sources.envelopes.tokens import (
    ENTRA,
    ENTRA_KEYS,
    GOOGLE_KEYS,
    NOW,
    OIDC,
    Issuer,
    bearer,
    entra,
    google,
)

SECRET = "3XDfkdQte2OgA78qCtSD17LAzpj6ay9H"
CERTIFICATES = {
    "sns": f"https://{SNS}{SNS_PEM}",
    "smn": f"https://{SMN}{SMN_PEM}",
    "mns": f"https://{MNS}{MNS_PEM}",
}
ORACLE = "https://cell1.notification.us-phoenix-1.oraclecloud.com/20181201/confirmation?token=N4x"
CONFIRMATIONS = (confirm_sns(), confirm_smn(), ORACLE)
CODE = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
JSON = {"content-type": "application/json"}


class World:
    """The signers, and a fetch that serves their URLs. `fetched`: the URLs that were fetched."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.signer = Signer(key)
        self.issuer = Issuer(key)
        self.fetched: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if url in CERTIFICATES.values():
            return self.signer.pem
        if url in (GOOGLE_KEYS, ENTRA_KEYS):
            return bytes(self.issuer.key_set())
        if url in CONFIRMATIONS:
            return b""
        raise TemporaryFailure("fetch.refused", "there is nothing")


@dataclass(frozen=True)
class Producer:
    """A type of request.

    `proofs`: where it holds the proofs of the sender: ("header", name), ("query", name), ("field",
    name in the body); each of them is required. `signs`: the signed headers. `covers`: the signed
    part of the body: "bytes" (all), "fields" (those of `covered`) or "" (none). `dated`: late
    requests are refused. `answer`: the body of the reply to a handshake; None for other requests.
    """

    name: str
    envelope: str
    keys: Mapping[str, Any]
    send: Callable[[World, datetime], Incoming]
    proofs: tuple[tuple[str, str], ...]
    signs: tuple[str, ...] = ()
    covers: str = ""
    covered: tuple[str, ...] = ()
    dated: bool = False
    may_fetch: tuple[str, ...] = ()
    answer: bytes | None = None

    def __str__(self) -> str:
        return self.name


def incoming(
    body: Any,
    headers: Mapping[str, str],
    now: datetime = NOW,
    query: Mapping[str, str] | None = None,
    method: str = "POST",
) -> Incoming:
    raw = body if isinstance(body, bytes) else encoded(body)
    return Incoming(
        "exports",
        raw,
        now,
        method=method,
        path="/hooks/exports",
        query=query or {},
        headers=dict(headers),
        raw_query="&".join(f"{name}={value}" for name, value in (query or {}).items()),
    )


def basic(token: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"relay:{token}".encode()).decode()}


# Requests of each producer


def by_sns(world: World, now: datetime, **fields: Any) -> Incoming:
    message = sns(world.signer, now, **fields)
    headers = {
        "content-type": "text/plain; charset=UTF-8",
        "user-agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": message["Type"],
        "x-amz-sns-message-id": message["MessageId"],
        "x-amz-sns-topic-arn": message["TopicArn"],
    }
    return incoming(message, headers, now)


def by_smn(world: World, now: datetime, **fields: Any) -> Incoming:
    message = smn(world.signer, now, **fields)
    headers = {**JSON, "x-smn-message-type": message["type"]}
    return incoming(message, headers, now)


def by_mns(world: World, now: datetime, form: str) -> Incoming:
    return Push(now, form=form).signed(world.signer)


def by_b2(_world: World, now: datetime) -> Incoming:
    body = encoded({"events": [B2_EVENT]})
    return incoming(body, b2(SECRET, body), now)


def by_script(_world: World, now: datetime) -> Incoming:
    body = encoded(OWN)
    return incoming(body, signed(SECRET.encode(), body, now), now)


S3_RECORDS = record()
BRIDGED = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-11-24T03:00:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::exports"],
    "detail": {
        "version": "0",
        "bucket": {"name": "exports"},
        "object": {"key": "prod/hello.zip", "size": 5, "etag": "b1946ac9", "sequencer": "617f0829"},
        "request-id": "N4N7GDK58NMKJ12R",
        "reason": "PutObject",
    },
}
RESOURCE = {
    "kind": "storage#object",
    "id": "exports/prod/hello.zip/1607428286395814",
    "name": "prod/hello.zip",
    "bucket": "exports",
    "generation": "1607428286395814",
    "metageneration": "1",
    "size": "352",
    "timeCreated": "2020-12-08T11:51:26.395Z",
    "etag": "CNHZkbuF/ugCEAE=",
}
PUSHED = {
    "message": {
        "attributes": {
            "bucketId": "exports",
            "eventTime": "2020-12-08T11:51:26.395668Z",
            "eventType": "OBJECT_FINALIZE",
            "objectGeneration": "1607428286395814",
            "objectId": "prod/hello.zip",
            "payloadFormat": "JSON_API_V1",
        },
        "data": base64.b64encode(encoded(RESOURCE)).decode(),
        "messageId": "2070443601311540",
        "publishTime": "2021-02-26T19:13:55.749Z",
    },
    "subscription": "projects/myproject/subscriptions/mysubscription",
}
EVENTARC = {
    **JSON,
    "ce-specversion": "1.0",
    "ce-id": "2070443601311540",
    "ce-source": "//storage.googleapis.com/projects/_/buckets/exports",
    "ce-type": "google.cloud.storage.object.v1.finalized",
    "ce-subject": "objects/prod/hello.zip",
    "ce-time": "2026-11-24T03:00:00Z",
}
BLOB = {
    "topic": "/subscriptions/x/providers/Microsoft.Storage/storageAccounts/acc",
    "subject": "/blobServices/default/containers/exports/blobs/prod/hello.zip",
    "eventType": "Microsoft.Storage.BlobCreated",
    "eventTime": "2026-11-24T03:00:00.9584103Z",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "data": {
        "api": "PutBlob",
        "eTag": '"0x8D4BCC2E4835CD0"',
        "contentLength": 524288,
        "url": "https://acc.blob.core.windows.net/exports/prod/hello.zip",
        "sequencer": "00000000000004420000000000028963",
    },
    "dataVersion": "",
    "metadataVersion": "1",
}
CLOUD_BLOB = {
    "specversion": "1.0",
    "source": BLOB["topic"],
    "subject": BLOB["subject"],
    "type": BLOB["eventType"],
    "time": BLOB["eventTime"],
    "id": BLOB["id"],
    "data": BLOB["data"],
}
VALIDATION = {
    "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
    "topic": BLOB["topic"],
    "subject": "",
    "data": {
        "validationCode": CODE,
        "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/eventsubscriptions/x?token=1A",
    },
    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    "eventTime": "2026-11-24T03:00:00Z",
    "metadataVersion": "1",
    "dataVersion": "1",
}
NOTIFIED = {"content-type": "application/json; charset=utf-8", "aeg-event-type": "Notification"}
VALIDATED = {**NOTIFIED, "aeg-event-type": "SubscriptionValidation"}
HUAWEI = {
    "specversion": "1.0",
    "id": "b27e6cbff1f6865c83111f130a982f56",
    "source": "HC.OBS.DWR",
    "type": "OBS:DWR:ObjectCreated:PUT",
    "subject": "prod/hello.zip",
    "time": "2026-11-24T03:00:00.167931174Z",
    "datacontenttype": "application/json",
    "ttl": "4000",
    "dataschema": "",
    "data": {
        "eventVersion": "3.0",
        "eventSource": "OBS",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-24T11:00:00.533Z",
        "eventRegion": "cn-east-3",
        "responseElements": {"x-obs-request-id": "b27e6cbff1f6865c83111f130a982f56"},
        "obs": {
            "Version": "1.0",
            "bucket": {"bucket": "exports", "name": "exports", "arn": ""},
            "object": {
                "key": "prod/hello.zip",
                "size": 112,
                "eTag": "6f9433fb110632de417e2e697dcb1b5f",
                "versionId": "G00101A0F057D2A5FFFFCB8700806592null",
                "sequencer": "1",
            },
        },
    },
}
ORACLE_EVENT = {
    "cloudEventsVersion": "0.1",
    "eventID": "ae0e5c0f-6ef1-4b1f-a7a0-6f1b6f9a4b90",
    "eventType": "com.oraclecloud.objectstorage.createobject",
    "source": "objectstorage",
    "eventTypeVersion": "1.0",
    "eventTime": "2026-11-24T03:00:00Z",
    "contentType": "application/json",
    "extensions": {"compartmentId": "ocid1.compartment.oc1..aaaa"},
    "data": {
        "compartmentId": "ocid1.compartment.oc1..aaaa",
        "resourceName": "prod/hello.zip",
        "resourceId": "/n/tenancy/b/exports/o/prod/hello.zip",
        "additionalDetails": {"eTag": "f8ffb6e9", "namespace": "tenancy", "bucketName": "exports"},
    },
}
ORACLE_SAID = {
    **JSON,
    "x-oci-ns-messageid": "5b0c5a1a",
    "x-oci-ns-topicocid": "ocid1.onstopic.oc1.phx.aaaa",
    "x-oci-ns-timestamp": "2026-11-24T03:00:00.310+0000",
    "x-oci-ns-messagetype": "Notification",
}
ORACLE_ASKS = {
    **ORACLE_SAID,
    "x-oci-ns-messagetype": "SubscriptionConfirmation",
    "x-oci-ns-confirmationurl": ORACLE,
}


def shown(body: Any, headers: Mapping[str, str]) -> Callable[[World, datetime], Incoming]:
    """A request that is the same whenever it is sent."""
    return lambda _world, now: incoming(body, headers, now)


def by_google(body: Any, headers: Mapping[str, str]) -> Callable[[World, datetime], Incoming]:
    def send(world: World, now: datetime) -> Incoming:
        seconds = int(now.timestamp())
        token = world.issuer.token(google(iat=seconds, exp=seconds + 3600))
        return incoming(body, {**headers, **bearer(token)}, now)

    return send


def by_azure(body: Any, headers: Mapping[str, str]) -> Callable[[World, datetime], Incoming]:
    def send(world: World, now: datetime) -> Incoming:
        seconds = int(now.timestamp())
        token = world.issuer.token(entra(iat=seconds, nbf=seconds, exp=seconds + 3600))
        return incoming(body, {**headers, **bearer(token)}, now)

    return send


def _mns(form: str) -> Producer:
    named = ("x-mns-topic-owner", "x-mns-topic-name", "x-mns-publish-time", "x-mns-message-id")
    return Producer(
        f"mns {form}",
        "mns",
        {"mns_topics": [TOPIC]},
        lambda world, now: by_mns(world, now, form),
        (("header", "authorization"), ("header", "content-md5"), ("header", "date")),
        signs=("content-type", "x-mns-request-id", "x-mns-version")
        + (named if form == "SIMPLIFIED" else ()),
        covers="bytes",
        dated=True,
        may_fetch=(CERTIFICATES["mns"],),
    )


_AUTHORIZATION = (("header", "authorization"),)
_SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SNS = ("Message", "MessageId", "Timestamp", "TopicArn", "Type")
_SMN = ("message", "message_id", "timestamp", "topic_urn", "type")


PRODUCERS = (
    Producer(
        "sns",
        "sns",
        {"sns_topic_arns": [ARN]},
        by_sns,
        (("field", "Signature"),),
        covers="fields",
        covered=_SNS,
        dated=True,
        may_fetch=(CERTIFICATES["sns"],),
    ),
    Producer(
        "sns handshake",
        "sns",
        {"sns_topic_arns": [ARN]},
        lambda world, now: by_sns(world, now, Type="SubscriptionConfirmation"),
        (("field", "Signature"),),
        covers="fields",
        covered=(*_SNS, "Token", "SubscribeURL"),
        dated=True,
        may_fetch=(CERTIFICATES["sns"], confirm_sns()),
        answer=b"",
    ),
    Producer(
        "smn",
        "smn",
        {"smn_topic_urns": [URN]},
        by_smn,
        (("field", "signature"),),
        covers="fields",
        covered=_SMN,
        dated=True,
        may_fetch=(CERTIFICATES["smn"],),
    ),
    Producer(
        "smn handshake",
        "smn",
        {"smn_topic_urns": [URN]},
        lambda world, now: by_smn(world, now, type="SubscriptionConfirmation"),
        (("field", "signature"),),
        covers="fields",
        covered=(*_SMN, "subscribe_url"),
        dated=True,
        may_fetch=(CERTIFICATES["smn"], confirm_smn()),
        answer=b"",
    ),
    _mns("XML"),
    _mns("JSON"),
    _mns("SIMPLIFIED"),
    Producer(
        "b2",
        "b2",
        {"secret": SECRET},
        by_b2,
        (("header", "x-bz-event-notification-signature"),),
        covers="bytes",
    ),
    Producer(
        "signed",
        "signed",
        {"secret": SECRET},
        by_script,
        tuple(("header", name) for name in _SIGNED),
        signs=("webhook-id", "webhook-timestamp"),
        covers="bytes",
        dated=True,
    ),
    Producer(
        "oci",
        "oci",
        {"token": "oracle-token"},
        shown(ORACLE_EVENT, {**ORACLE_SAID, **basic("oracle-token")}),
        _AUTHORIZATION,
    ),
    Producer(
        "oci handshake",
        "oci",
        {"token": "oracle-token"},
        shown({"ConfirmationURL": ORACLE}, {**ORACLE_ASKS, **basic("oracle-token")}),
        _AUTHORIZATION,
        may_fetch=(ORACLE,),
        answer=b"",
    ),
    Producer(
        "eventbridge",
        "eventbridge",
        {"token": "bridge-token", "token_header": "X-Api-Key"},
        shown(BRIDGED, {**JSON, "x-api-key": "bridge-token"}),
        (("header", "x-api-key"),),
    ),
    Producer(
        "eventgrid",
        "eventgrid",
        {"token": "huawei-token"},
        lambda _world, now: incoming(HUAWEI, JSON, now, {"token": "huawei-token"}),
        (("query", "token"),),
    ),
    Producer(
        "pubsub",
        "pubsub",
        OIDC,
        by_google(PUSHED, {**JSON, "user-agent": "CloudPubSub-Google"}),
        _AUTHORIZATION,
        dated=True,
        may_fetch=(GOOGLE_KEYS,),
    ),
    Producer(
        "azure",
        "azure",
        ENTRA,
        by_azure([BLOB], NOTIFIED),
        _AUTHORIZATION,
        dated=True,
        may_fetch=(ENTRA_KEYS,),
    ),
    Producer(
        "azure cloudevents",
        "azure",
        ENTRA,
        by_azure(CLOUD_BLOB, {"content-type": "application/cloudevents+json"}),
        _AUTHORIZATION,
        dated=True,
        may_fetch=(ENTRA_KEYS,),
    ),
    Producer(
        "azure handshake",
        "azure",
        ENTRA,
        by_azure([VALIDATION], VALIDATED),
        _AUTHORIZATION,
        dated=True,
        may_fetch=(ENTRA_KEYS,),
        answer=json.dumps({"validationResponse": CODE}).encode(),
    ),
    Producer(
        "cloudevents",
        "cloudevents",
        OIDC,
        by_google(RESOURCE, EVENTARC),
        _AUTHORIZATION,
        dated=True,
        may_fetch=(GOOGLE_KEYS,),
    ),
    Producer(
        "bare",
        "bare",
        {"token": "bare-token"},
        shown(S3_RECORDS, {**JSON, **bearer("bare-token")}),
        _AUTHORIZATION,
    ),
)
