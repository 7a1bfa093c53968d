"""The keys of a source about its senders: accepted envelopes and credentials."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from relay.config import validators as rules
from relay.config.table import Table
from relay.config.units import Duration

_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_SNS_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:.+")

Secret = Annotated[SecretStr | None, BeforeValidator(rules.nothing_if_empty)]
Name = Annotated[str | None, BeforeValidator(rules.nothing_if_empty)]
Names = Annotated[tuple[str, ...], BeforeValidator(rules.without_empty)]


def _header(name: str | None) -> str | None:
    if name is not None and not _HEADER.fullmatch(name):
        raise ValueError("should be the name of a header, such as X-Relay-Token")
    return name


def _sns_topic(arn: str) -> str:
    if not _SNS_TOPIC.fullmatch(arn):
        raise ValueError("should be a topic's ARN: arn:aws:sns:REGION:ACCOUNT:TOPIC")
    return arn


SnsTopics = Annotated[
    tuple[Annotated[str, AfterValidator(_sns_topic)], ...], BeforeValidator(rules.without_empty)
]


class SenderSettings(Table):
    """How senders authenticate. An envelope without its keys is disabled."""

    envelopes: ClassVar[tuple[str, ...]] = ("bare",)
    """The names that `accept` takes; relay.sources.envelopes.source_settings sets all of them."""

    accept: tuple[str, ...] = Field(
        ("bare",), description="the envelopes that this source accepts; no others are tried"
    )
    token: Secret = Field(None, description="the token of senders that do not sign")
    token_header: Annotated[Name, AfterValidator(_header)] = Field(
        None, description="the header with the token, if it is not Authorization"
    )
    secret: Secret = Field(
        None, description="the key that b2 and signed notifications are signed with"
    )
    max_age: Duration = Field(
        timedelta(hours=1),
        gt=timedelta(0),
        description="the largest difference between a signed timestamp and the current time",
    )
    sns_topic_arns: SnsTopics = Field((), description="the SNS topics that may send")
    sns_hosts: Names = Field(
        ("sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"),
        description="hosts of SNS certificates; * is a region",
    )
    smn_topic_urns: Names = Field((), description="the SMN topics that may send")
    smn_hosts: Names = Field(
        ("smn.*.myhuaweicloud.com",),
        description="hosts of SMN certificates; * is the region of the topic",
    )
    smn_confirm_hosts: Names = Field(
        ("console.huaweicloud.com",), description="hosts that confirm SMN subscriptions"
    )
    oidc_audience: Name = Field(
        None,
        description="the audience in Google's tokens (Pub/Sub, Eventarc), usually the hook's URL",
    )
    oidc_email: Name = Field(
        None, description="the service account in Google's tokens (Pub/Sub, Eventarc)"
    )
    entra_tenant: Name = Field(None, description="the Entra tenant that issues Event Grid's tokens")
    entra_audience: Name = Field(None, description="the audience in those tokens: your app's id")
    entra_app: Name = Field(
        "4962773b-9cdb-44cf-a8bf-237846a00ab7",
        description="the app id in those tokens; the default is Event Grid's own",
    )
    mns_topics: Names = Field((), description="the MNS topics that may send, each as owner/topic")
