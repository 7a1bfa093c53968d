"""Creates the signed cases again, with a new key: `python -m tests.notifications.signing`.

Writes the .http files of the table below and the certificates. The .json files with the expected
results are written by hand.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.signers import ARN, MNS_PEM, SMN_PEM, SNS_PEM, URN, Push, Signer, smn, sns

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOOK = "/hooks/exports"
MINUTE = timedelta(minutes=1)

S3 = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2025-12-31T23:59:58.000Z",
            "eventName": "ObjectCreated:CompleteMultipartUpload",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": "exports"},
                "object": {
                    "key": "prod/%E5%AF%BC%E5%87%BA+a%2Bb.zip",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e-2",
                    "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
    ]
}
EVENTBRIDGE = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2025-12-31T23:59:58Z",
    "detail": {
        "version": "0",
        "bucket": {"name": "exports"},
        "object": {
            "key": "prod/a+b.zip",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "reason": "PutObject",
    },
}
TEST = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "exports"}

OBS = {
    "Records": [
        {
            "eventVersion": "3.0",
            "eventSource": "OBS",
            "eventRegion": "cn-north-4",
            "eventTime": "2025-12-31T23:59:58.418Z",
            "eventName": "ObjectCreated:Post",
            "responseElements": {"x-obs-request-id": "b27e6cbff1f6865c83111f130a982f56"},
            "obs": {
                "Version": "1.0",
                "bucket": {"name": "exports", "bucket": "exports"},
                "object": {
                    "key": "prod%2F%E4%B8%AD+%E6%96%87.zip",
                    "eTag": "9d377b10ce778c4938b3c7e2c63a229a",
                    "size": 112,
                    "versionId": "null",
                    "sequencer": "00000000160D9E681484D6B4C0000000",
                },
            },
        }
    ]
}

OSS = {
    "events": [
        {
            "eventName": "ObjectCreated:PutObject",
            "eventSource": "acs:oss",
            "eventTime": "2025-12-31T23:59:58.000Z",
            "eventVersion": "1.0",
            "oss": {
                "bucket": {"name": "exports"},
                "object": {
                    "deltaSize": 122539,
                    "eTag": "688A7BF4F233DC9C88A80BF985AB7329",
                    "key": "prod/中 a+b.zip",
                    "size": 122539,
                },
                "ossSchemaVersion": "1.0",
            },
            "region": "cn-hangzhou",
            "responseElements": {"requestId": "58F9FF2D3DF792092E12044C"},
        }
    ]
}

Case = tuple[str, str, Mapping[str, str], bytes]
"""File, target, headers, body."""


def main() -> None:
    signer = Signer(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    folder = HERE / "certificates"
    folder.mkdir(exist_ok=True)
    for path in (SNS_PEM, SMN_PEM, MNS_PEM):
        (folder / path.rpartition("/")[2]).write_bytes(signer.pem)
    for made in (by_sns, by_smn, by_mns):
        for name, target, headers, body in made(signer):
            (HERE / f"{name}.http").write_bytes(request(target, headers, body))


def by_sns(signer: Signer) -> Iterator[Case]:
    subject = "Amazon S3 Notification"
    cases: dict[str, dict[str, Any]] = {
        "v1-with-subject": {"SignatureVersion": "1", "Subject": subject, "Message": text(S3)},
        "v2": {"Message": text(S3)},
        "eventbridge-inside": {"Message": text(EVENTBRIDGE)},
        "test-event": {"Message": text(TEST), "Subject": subject},
        "not-json": {"Message": "hello"},
        "subscription": {"Type": "SubscriptionConfirmation"},
        "subscription-ended": {"Type": "UnsubscribeConfirmation"},
        "stale": {"Message": text(S3), "Timestamp": "2025-12-31T22:59:59.000Z"},
        "another-topic": {"Message": text(S3), "TopicArn": ARN.replace("1234", "6666")},
        "unsigned": {"Message": text(S3), "Signature": None},
        "certificate-elsewhere": {"SigningCertURL": f"https://sns.example.com{SNS_PEM}"},
    }
    messages = {name: sns(signer, NOW - MINUTE, **fields) for name, fields in cases.items()}
    messages["changed"] = {**messages["v2"], "Message": text(S3).replace("prod", "evil")}
    for name, message in messages.items():
        headers = {
            "x-amz-sns-message-type": message["Type"],
            "x-amz-sns-message-id": message["MessageId"],
            "x-amz-sns-topic-arn": message["TopicArn"],
            "Content-Type": "text/plain; charset=UTF-8",
            "User-Agent": "Amazon Simple Notification Service Agent",
        }
        yield f"s3/sns-{name}", HOOK, headers, text(message).encode()


def by_smn(signer: Signer) -> Iterator[Case]:
    cases: dict[str, dict[str, Any]] = {
        "version-3": {"message": text(OBS), "subject": "OBS"},
        "without-subject": {"message": text(OBS)},
        "not-json": {"message": "test"},
        "subscription": {"type": "SubscriptionConfirmation"},
        "subscription-ended": {"type": "UnsubscribeConfirmation"},
        "stale": {"message": text(OBS), "timestamp": "2025-12-31T22:59:59Z"},
        "another-topic": {"message": text(OBS), "topic_urn": f"{URN}-other"},
        "certificate-of-another-region": {
            "signing_cert_url": f"https://smn.cn-south-1.myhuaweicloud.com{SMN_PEM}"
        },
    }
    messages = {name: smn(signer, NOW - MINUTE, **fields) for name, fields in cases.items()}
    changed = text(OBS).replace("prod", "evil")
    messages["changed"] = {**messages["version-3"], "message": changed}
    for name, message in messages.items():
        headers = {
            "X-SMN-MESSAGE-TYPE": message["type"],
            "X-SMN-MESSAGE-ID": message["message_id"],
            "X-SMN-TOPIC-URN": message["topic_urn"],
            "Content-Type": "application/json",
        }
        yield f"obs/smn-{name}", HOOK, headers, text(message).encode()


def by_mns(signer: Signer) -> Iterator[Case]:
    begun = text(OSS).replace("PutObject", "InitiateMultipartUpload")
    push = Push(NOW - MINUTE, message=encoded(text(OSS)))
    unnamed = replace(push, form="SIMPLIFIED", named=False)
    cases = {
        "xml": push,
        "json": replace(push, form="JSON"),
        "simplified": replace(push, form="SIMPLIFIED"),
        "simplified-without-topic": replace(unnamed, target=f"{HOOK}?token=hook-token"),
        "simplified-without-topic-or-token": unnamed,
        "multipart-begun": replace(push, message=encoded(begun)),
        "not-json": replace(push, message="hello"),
        "stale": replace(push, now=NOW - 61 * MINUTE),
        "another-topic": replace(push, topic="666666/uploads"),
        "certificate-elsewhere": replace(push, url=f"https://mns.example.com{MNS_PEM}"),
    }
    for name, case in cases.items():
        incoming = case.signed(signer)
        yield f"oss/mns-{name}", case.target, incoming.headers, incoming.body
    incoming = push.signed(signer)
    changed = incoming.body.replace(b"<Message>", b"<Message>A", 1)
    yield "oss/mns-changed", HOOK, incoming.headers, changed


def text(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)


def encoded(message: str) -> str:
    return base64.b64encode(message.encode()).decode()


def request(target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = {"Host": "relay.example.com", **headers, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body


if __name__ == "__main__":
    main()
