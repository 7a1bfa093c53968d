"""Set-up steps of every kind: valid syntax, the hook's address, and no secret."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from relay.handlers import b2, ceph, cos, ibm, minio, oci, oss, rustfs, seaweedfs, tigris
from relay.handlers.azure import setup as azure
from relay.handlers.gcs import setup as gcs
from relay.handlers.obs import setup as obs
from relay.handlers.r2 import setup as r2
from relay.handlers.s3 import setup as s3
from relay.plugins import find, settings_class
from relay.sources.setup.steps import (
    PLACEHOLDER_URL,
    KeyFilter,
    SetupContext,
    Step,
    generic_steps,
)
from tests.every_kind import KINDS

from .conftest import URL, check, setup_context

Recipe = Callable[[SetupContext], Iterator[Step]]

AWS = {"region": "us-east-1"}
QUEUE = {"sqs_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/news"}
TOPIC = {"accept": ["sns"], "sns_topic_arns": ["arn:aws:sns:us-east-1:123456789012:news"]}
STORE = {"endpoint_url": "http://127.0.0.1:9000"}
SMN = {"accept": ["smn"], "smn_topic_urns": ["urn:smn:cn-north-4:0123456789abcdef:news"]}
ENTRA = {"accept": ["azure"], "entra_tenant": "tenant-id", "entra_audience": "api://relay"}

GCS = settings_class("handlers", "gcs")
AZURE = settings_class("handlers", "azure")

RECIPES: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "aws": (s3.setup_steps, AWS),
    "aws-sqs": (s3.setup_steps, {**AWS, **QUEUE}),
    "aws-sns": (s3.setup_steps, {**AWS, **TOPIC}),
    "aws-sns-sqs": (s3.setup_steps, {**AWS, **TOPIC, **QUEUE}),
    "aws-eventbridge": (s3.setup_steps, {**AWS, "accept": ["eventbridge"]}),
    "aws-eventbridge-sqs": (s3.setup_steps, {**AWS, **QUEUE, "accept": ["eventbridge"]}),
    "s3": (s3.setup_steps, STORE),
    "s3-arn": (s3.setup_steps, {**STORE, "arn": "arn:other:sqs::relay:webhook"}),
    "minio": (minio.setup_steps, STORE),
    "rustfs": (rustfs.setup_steps, STORE),
    "ceph": (ceph.setup_steps, STORE),
    "seaweedfs": (seaweedfs.setup_steps, STORE),
    "tigris": (tigris.setup_steps, STORE),
    "obs-smn": (obs.setup_steps, SMN),
    "obs": (obs.setup_steps, {"accept": ["smn"]}),
    "obs-both": (obs.setup_steps, {"accept": ["smn", "eventgrid"]}),
    "obs-eventgrid": (obs.setup_steps, {"accept": ["eventgrid"]}),
    "gcs": (gcs.setup_steps, {"accept": ["pubsub"]}),
    "gcs-pull": (
        gcs.setup_steps,
        {"source": GCS, "subscription": "projects/my-project/subscriptions/news"},
    ),
    "azure-queue": (
        azure.setup_steps,
        {
            "source": AZURE,
            "account": "exports",
            "queue_url": "https://exports.queue.core.windows.net/news",
        },
    ),
    "azure": (azure.setup_steps, {"accept": ["azure"]}),
    "azure-cloudevents": (azure.setup_steps, {"accept": ["cloudevents"]}),
    "azure-entra": (azure.setup_steps, ENTRA),
    "oss": (oss.setup_steps, {"accept": ["mns"]}),
    "oss-topic": (oss.setup_steps, {"accept": ["mns"], "mns_topics": ["123/news"]}),
    "cos": (cos.setup_steps, {}),
    "b2": (b2.setup_steps, {"accept": ["b2"]}),
    "r2": (r2.setup_steps, {}),
    "oci": (oci.setup_steps, {"accept": ["oci"]}),
    "ibm": (ibm.setup_steps, {"accept": ["cloudevents"]}),
    "generic": (generic_steps, {}),
}
PULLED = ("aws", "aws-sqs", "aws-eventbridge-sqs", "r2", "gcs-pull", "azure-queue")
"""Recipes of sources without a hook."""


def made(name: str, **more: Any) -> list[Step]:
    recipe, settings = RECIPES[name]
    return list(recipe(setup_context(**{**settings, **more})))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_well_formed_and_holds_no_secret(name: str) -> None:
    text = check(made(name))
    if name not in PULLED:
        host_and_path = URL.removeprefix("https://")
        parts = ("/hooks/exports", "relay.example.com")
        assert host_and_path in text or all(part in text for part in parts) or name == "ibm"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid_without_public_url_buckets_and_routes(name: str) -> None:
    text = check(made(name, public_url=None, buckets=[], keys=()))
    assert "None" not in text
    if name not in (*PULLED, "ibm", "oci", "ceph"):
        assert PLACEHOLDER_URL in text


@pytest.mark.parametrize("name", RECIPES)
def test_several_buckets_and_odd_names_stay_well_formed(name: str) -> None:
    check(made(name, buckets=["exports", "it's $(odd)"], keys=("a b/*.zip", "x[0-9]*.zip")))


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        (("prod/*.zip",), KeyFilter("prod/", ".zip")),
        (("prod/*.zip", "test/*.zip"), KeyFilter("", ".zip")),
        (("prod/a/*.zip", "prod/b/*.zip"), KeyFilter("prod/", ".zip")),
        (("*.zip", "*.tar.zip"), KeyFilter("", ".zip")),
        (("*.zip", "*"), KeyFilter("", "")),
        (("exact.zip",), KeyFilter("exact.zip", "exact.zip")),
        (("a b/*.zip",), KeyFilter("a", ".zip")),
        (("导出/*导出.zip",), KeyFilter("", ".zip")),
        (("prod/[ab]?.zip",), KeyFilter("prod/", ".zip")),
        (("*.[zZ][iI][pP]",), KeyFilter("", "")),
        ((), KeyFilter("", "")),
    ],
)
def test_filters_are_never_narrower_than_the_routes(
    keys: tuple[str, ...], wanted: KeyFilter
) -> None:
    assert setup_context(keys=keys).key_filter("exports") == wanted


def test_routes_of_other_buckets_are_ignored() -> None:
    item = setup_context(keys=("prod/*.zip",))
    routes = (
        item.routes[0].model_copy(update={"bucket": "exp*"}),
        item.routes[0].model_copy(update={"bucket": "drafts", "key": "*.tar"}),
    )
    both = SetupContext("exports", item.settings, routes)
    assert both.key_filter("exports") == KeyFilter("prod/", ".zip")
    assert both.key_filter("drafts") == KeyFilter("", ".tar")
    assert both.key_filter("nowhere") == KeyFilter()


def documents(steps: list[Step]) -> dict[str, Any]:
    return {step.file: json.loads(step.text) for step in steps if step.kind == "json"}


def commands(steps: list[Step]) -> list[list[str]]:
    """The words of every command, split like a shell does."""
    text = "\n".join(step.text for step in steps if step.kind == "command")
    return [shlex.split(line) for line in text.replace("\\\n", "").splitlines() if line]


def test_the_rule_of_a_bucket_names_events_one_by_one() -> None:
    rule = documents(made("aws-sqs"))["notification-exports.json"]["QueueConfigurations"][0]
    assert rule["QueueArn"] == "arn:aws:sqs:us-east-1:123456789012:news"
    assert len(rule["Events"]) == 4
    assert not any("*" in event for event in rule["Events"])
    assert {"Name": "suffix", "Value": ".zip"} in rule["Filter"]["Key"]["FilterRules"]


def test_only_s3_and_only_these_buckets_may_write_to_the_queue() -> None:
    policy = json.loads(documents(made("aws-sqs"))["queue.json"]["Policy"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": ["arn:aws:s3:::exports"]}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_sns_retries_for_most_of_an_hour_and_signs() -> None:
    (subscribe,) = [
        item for item in commands(made("aws-sns")) if item[:3] == ["aws", "sns", "subscribe"]
    ]
    attributes = json.loads(subscribe[subscribe.index("--attributes") + 1])
    assert "RawMessageDelivery" not in attributes
    retry = json.loads(attributes["DeliveryPolicy"])["healthyRetryPolicy"]
    longest = (
        retry["numMinDelayRetries"] * retry["minDelayTarget"]
        + retry["numMaxDelayRetries"] * retry["maxDelayTarget"]
    )
    assert retry["numMinDelayRetries"] + retry["numMaxDelayRetries"] == retry["numRetries"]
    assert 2000 < longest < 3600  # SNS refuses a policy that is longer
    assert URL in subscribe


def test_the_eventbridge_pattern_matches_created_objects_of_the_buckets() -> None:
    pattern = documents(made("aws-eventbridge"))["pattern.json"]
    assert pattern["detail-type"] == ["Object Created"]
    assert pattern["detail"]["bucket"]["name"] == ["exports"]
    assert pattern["detail"]["object"] == {"key": [{"suffix": ".zip"}]}


def test_chinese_regions_have_their_own_names() -> None:
    text = check(made("aws", region="cn-north-1"))
    assert "arn:aws-cn:s3:::exports" in text
    assert "sqs.cn-north-1.amazonaws.com.cn" in text


def test_a_secret_is_shown_as_its_environment_variable() -> None:
    assert 'auth_token="$MY_TOKEN"' in check(made("minio"))
    assert '--sign-secret "$HOOK_SECRET"' in check(made("b2"))
    assert "var.hook_token" in check(made("azure"))


def test_minio_gets_a_queue_folder() -> None:
    text = check(made("minio"))
    assert "queue_dir=" in text
    assert "arn:minio:sqs::relay:webhook" in text
    (event,) = [item for item in commands(made("minio")) if item[:2] == ["mc", "event"]]
    assert event[3:] == [
        *("ALIAS/exports", "arn:minio:sqs::relay:webhook", "--event", "put"),
        *("--prefix", "prod/", "--suffix", ".zip"),
    ]


def test_ceph_gets_a_persistent_topic_with_the_token() -> None:
    topic = documents(made("ceph"))["topic.json"]
    assert topic["persistent"] == "true"
    assert topic["push-endpoint"] == "https://relay:$MY_TOKEN@relay.example.com/hooks/exports"


def test_event_grid_gets_a_url_with_the_token() -> None:
    text = check(made("azure"))
    assert "'https://relay.example.com/hooks/exports?token='\"$MY_TOKEN\"" in text
    assert "/blobServices/default/containers/exports/blobs/prod/" in text


def test_with_entra_no_token_is_sent_to_azure() -> None:
    text = check(made("azure-entra"))
    assert "?token=" not in text
    assert "--azure-active-directory-tenant-id tenant-id" in text


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_steps_for_its_default_settings(kind: str) -> None:
    cls = find("handlers", kind)
    context = setup_context(source=cls.Settings, kind=kind, **KINDS[kind])
    with closing(cls("exports", context.settings)) as handler:
        text = check(list(handler.setup(context)))
    is_polled = "queue_id" in text
    if handler.announces and not is_polled:
        # Code Engine's command has only the path: it sends to an application, not to an address.
        assert URL.removeprefix("https://") in text or f"--path {context.path}" in text
