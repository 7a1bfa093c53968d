"""Services that sign messages with an X.509 certificate: SNS, SMN and MNS, after their guides.

Independent of relay/sources/envelopes, so that a mistake there is found.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from relay.model import Incoming

BEGINS = datetime(2025, 1, 1, tzinfo=UTC)
ENDS = datetime(2030, 1, 1, tzinfo=UTC)

ARN = "arn:aws:sns:us-east-1:123456789012:uploads"
SNS = "sns.us-east-1.amazonaws.com"
SNS_PEM = "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"

URN = "urn:smn:cn-north-4:0a419ac94f80f2c62f14c01e34000000:uploads"
SMN = "smn.cn-north-4.myhuaweicloud.com"
SMN_PEM = "/smn/SMN_cn-north-4_b98100ca131b4116ab8ee7ccedbaae99.pem"
CONSOLE = "console.huaweicloud.com"

TOPIC = "123456789/uploads"
MNS = "mnstest.oss-cn-hangzhou.aliyuncs.com"
MNS_PEM = "/x509_public_certificate.pem"


class Signer:
    """A key with a certificate."""

    def __init__(
        self, key: RSAPrivateKey, *, begins: datetime = BEGINS, ends: datetime = ENDS
    ) -> None:
        self.key = key
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "notify")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(begins)
            .not_valid_after(ends)
            # A short key has no room for a longer digest, and the digest is not checked.
            .sign(key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)

    def sign(self, text: str | bytes, digest: hashes.HashAlgorithm) -> str:
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return base64.b64encode(self.key.sign(raw, PKCS1v15(), digest)).decode()


def lines(message: Mapping[str, Any], names: str) -> str:
    return "".join(f"{name}\n{message[name]}\n" for name in names.split() if name in message)


def record(key: str = "prod/hello.zip") -> dict[str, Any]:
    """The record of an upload, as S3 and OBS send it."""
    bucket = {"name": "exports"}
    about = {"key": key, "size": 3, "eTag": "688a7bf4", "sequencer": "0055AED6DCD90281E5"}
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": "2026-11-24T03:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": bucket, "object": about},
            }
        ]
    }


def stamp(moment: datetime, spec: str = "milliseconds") -> str:
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def sns(signer: Signer, now: datetime, **fields: Any) -> dict[str, Any]:
    """A message of SNS as JSON has it. None leaves a part out; `Signature` as it is, when given."""
    kind = fields.get("Type", "Notification")
    message: dict[str, Any] = {
        "Type": kind,
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": ARN,
        "Message": json.dumps(record()),
        "Timestamp": stamp(now),
        "SignatureVersion": "2",
        "SigningCertURL": f"https://{SNS}{SNS_PEM}",
    }
    if kind == "Notification":
        message["UnsubscribeURL"] = f"https://{SNS}/?Action=Unsubscribe&SubscriptionArn={ARN}:1"
    else:
        message["Message"] = f"You have chosen to subscribe to the topic {ARN}."
        message["Token"] = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92"
        message["SubscribeURL"] = confirm_sns()
    message = {name: value for name, value in (message | fields).items() if value is not None}
    names = "Message MessageId Subject Timestamp TopicArn Type"
    if kind != "Notification":
        names = "Message MessageId SubscribeURL Timestamp Token TopicArn Type"
    digest = hashes.SHA1() if message.get("SignatureVersion") == "1" else hashes.SHA256()
    return without_none(
        {"Signature": signer.sign(lines(message, names), digest), **message}, fields
    )


def confirm_sns(host: str = SNS, topic: str = ARN) -> str:
    return f"https://{host}/?Action=ConfirmSubscription&TopicArn={topic}&Token=2336412f37fb687f"


def smn(
    signer: Signer,
    now: datetime,
    *,
    digest: hashes.HashAlgorithm = hashes.SHA256(),  # noqa: B008 - it is a constant
    sign_empty: bool = False,
    **fields: Any,
) -> dict[str, Any]:
    """A message of SMN, likewise. `sign_empty`: an empty subject is signed, as samples do."""
    kind = fields.get("type", "Notification")
    message: dict[str, Any] = {
        "signing_cert_url": f"https://{SMN}{SMN_PEM}",
        "topic_urn": URN,
        "message_id": "d84bd6629ef04513ad2e37bffd6e17cb",
        "signature_version": "v1",
        "type": kind,
        "message": json.dumps(record()),
        "timestamp": stamp(now, "seconds"),
    }
    if kind != "Notification":
        message["message"] = f"You are invited to subscribe to topic: {URN}."
        message["subscribe_url"] = confirm_smn()
    message = {name: value for name, value in (message | fields).items() if value is not None}
    names = "message message_id subject timestamp topic_urn type"
    if kind != "Notification":
        names = "message message_id subscribe_url timestamp topic_urn type"
    if message.get("subject") == "" and not sign_empty:
        names = names.replace("subject ", "")
    return without_none(
        {"signature": signer.sign(lines(message, names), digest), **message}, fields
    )


def without_none(message: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if fields.get(name, value) is not None}


def confirm_smn(host: str = CONSOLE, topic: str = URN) -> str:
    query = f"token=0a419ac94f80f2c62f14c01e34ae5dfc&topic_urn={topic}&region=cn-north-4"
    return f"https://{host}/smn/subscription/confirm?{query}&region_id=cn-north-4"


@dataclass(frozen=True)
class Push:
    """A push of MNS before it is signed. `topic_in`: headers (as SIMPLIFIED has it now), body."""

    now: datetime
    form: str = "XML"
    topic: str = TOPIC
    message: str = ""
    target: str = "/hooks/exports"
    url: str = f"https://{MNS}{MNS_PEM}"
    published: datetime | None = None
    named: bool = True
    with_type: bool = True
    sign_query: bool = True

    @property
    def owner_and_name(self) -> tuple[str, str]:
        owner, _, name = self.topic.partition("/")
        return owner, name

    @property
    def text(self) -> str:
        """The message as OSS publishes it: base64 of JSON."""
        return self.message or base64.b64encode(json.dumps(record()).encode()).decode()

    @property
    def milliseconds(self) -> str:
        return str(int((self.published or self.now).timestamp() * 1000))

    def body(self) -> bytes:
        if self.form == "SIMPLIFIED":
            return self.text.encode()
        owner, name = self.owner_and_name
        parts = {
            "TopicOwner": owner,
            "TopicName": name,
            "Subscriber": owner,
            "SubscriptionName": "relay",
            "MessageId": "6CC4D900CA59A2CD-1-15180534A8F-200000002",
            "MessageMD5": hashlib.md5(self.text.encode()).hexdigest().upper(),
            "Message": self.text,
            "PublishTime": self.milliseconds,
        }
        if self.form == "JSON":
            return json.dumps(parts).encode()
        inner = "".join(f"<{tag}>{escape(value)}</{tag}>" for tag, value in parts.items())
        head = '<?xml version="1.0" encoding="utf-8"?>'
        return f'{head}<Notification xmlns="http://mns.aliyuncs.com/doc/v1/">{inner}</Notification>'.encode()

    def headers(self) -> dict[str, str]:
        media = {"XML": "text/xml", "JSON": "application/json", "SIMPLIFIED": "text/plain"}
        headers = {
            "content-type": f"{media[self.form]};charset=utf-8",
            "content-md5": base64.b64encode(hashlib.md5(self.body()).hexdigest().encode()).decode(),
            "date": format_datetime(self.now, usegmt=True),
            "x-mns-request-id": "57458276F0E3D56D7C000001",
            "x-mns-signing-cert-url": base64.b64encode(self.url.encode()).decode(),
            "x-mns-version": "2015-06-06",
        }
        if self.form == "SIMPLIFIED":
            headers["x-mns-message-id"] = "6CC4D900CA59A2CD-1-15180534A8F-200000002"
            if self.named:
                owner, name = self.owner_and_name
                headers |= {
                    "x-mns-topic-owner": owner,
                    "x-mns-topic-name": name,
                    "x-mns-publish-time": self.milliseconds,
                }
        return headers

    def signed(self, signer: Signer, **changed: str | None) -> Incoming:
        """The request as the hook hands it on. `changed`: headers that are changed before they are
        signed, with _ for -; None: left out."""
        headers = self.headers() | {
            name.replace("_", "-"): value for name, value in changed.items()
        }
        headers = {name: value for name, value in headers.items() if value is not None}
        head = ["POST", headers.get("content-md5", "")]
        if self.with_type:
            head.append(headers.get("content-type", ""))
        head.append(headers.get("date", ""))
        mns_headers = sorted(
            f"{name}:{value}" for name, value in headers.items() if name.startswith("x-mns-")
        )
        path, _, query = self.target.partition("?")
        text = "\n".join([*head, *mns_headers, self.target if self.sign_query else path])
        headers["authorization"] = signer.sign(text, hashes.SHA1())
        return Incoming(
            "exports",
            self.body(),
            self.now,
            path=path,
            query=dict(parse_qsl(query)),
            headers=headers,
            raw_query=query,
        )


def ago(now: datetime, **past: float) -> datetime:
    return now - timedelta(**past)
