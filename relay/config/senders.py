"""The keys of a source that say who may send to it, and in which wrappings."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from relay.config import validators as rules
from relay.config.table import Table
from relay.config.units import Duration

ENVELOPE_NAMES = (
    "azure",
    "b2",
    "bare",
    "cloudevents",
    "eventbridge",
    "eventgrid",
    "mns",
    "oci",
    "pubsub",
    "signed",
    "smn",
    "sns",
)
"""Those of relay/envelopes/, which stands on the settings and so cannot be asked from here."""

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
    """How senders prove who they are. An envelope whose keys are not set is never offered."""

    accept: tuple[str, ...] = Field(
        ("bare",), description="the envelopes this source takes; nothing else is tried"
    )
    token: Secret = Field(None, description="what a sender that does not sign must know")
    token_header: Annotated[Name, AfterValidator(_header)] = Field(
        None, description="the header that holds the token, when it is not Authorization"
    )
    secret: Secret = Field(
        None, description="the key that b2 and signed notifications are signed with"
    )
    max_age: Duration = Field(
        timedelta(hours=1),
        gt=timedelta(0),
        description="how far the time in a signed notification may be from ours",
    )
    sns_topic_arns: SnsTopics = Field((), description="the SNS topics that may send")
    sns_hosts: Names = Field(
        ("sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"),
        description="where SNS keeps its certificates; * is a region",
    )
    smn_topic_urns: Names = Field((), description="the SMN topics that may send")
    smn_hosts: Names = Field(
        ("smn.*.myhuaweicloud.com",),
        description="where SMN keeps its certificates; * is the region of the topic",
    )
    smn_confirm_hosts: Names = Field(
        ("console.huaweicloud.com",), description="where SMN subscriptions are confirmed"
    )
    oidc_audience: Name = Field(
        None, description="the audience in Google's tokens (Pub/Sub, Eventarc): often the hook"
    )
    oidc_email: Name = Field(
        None, description="the service account whose tokens Google sends (Pub/Sub, Eventarc)"
    )
    entra_tenant: Name = Field(None, description="the Entra tenant whose tokens Event Grid sends")
    entra_audience: Name = Field(None, description="the audience in those tokens: your app's id")
    entra_app: Name = Field(
        "4962773b-9cdb-44cf-a8bf-237846a00ab7",
        description="the app that those tokens were given to: Event Grid's own",
    )
    mns_topics: Names = Field((), description="the MNS topics that may send, each as owner/topic")
