"""`--apply` against real S3, SQS and SNS: the result works, and foreign rules are kept."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result
from moto.server import ThreadedMotoServer
from werkzeug import Request, Response
from werkzeug.serving import make_server

from relay.cli.main import cli
from relay.handlers.ceph import topic_attributes, topic_changes
from relay.handlers.s3 import Handler
from relay.handlers.s3.arns import merge_statement
from relay.sources.s3.storage import S3Settings
from relay.sources.setup.bucket_rules import merge_rule
from relay.sources.setup.steps import SetupContext

KEYS = {"aws_access_key_id": "test-key", "aws_secret_access_key": "test-secret"}
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a server with the S3, SQS and SNS APIs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def client(store: str, kind: str) -> Iterator[Any]:
    made = boto3.client(kind, endpoint_url=store, region_name="us-east-1", **KEYS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def s3(store: str) -> Iterator[Any]:
    yield from client(store, "s3")


@pytest.fixture(scope="module")
def sqs(store: str) -> Iterator[Any]:
    yield from client(store, "sqs")


@pytest.fixture(scope="module")
def sns(store: str) -> Iterator[Any]:
    yield from client(store, "sns")


@pytest.fixture
def name(s3: Any) -> str:
    """The name of a new bucket, and of the test's queue and topic."""
    # moto's state belongs to the process: the buckets of every other server are there too.
    made = f"exports-{token_hex(8)}"
    s3.create_bucket(Bucket=made)
    return made


class Relay:
    """A relay.toml in a separate folder, and the command line that uses it."""

    def __init__(self, folder: Path, store: str, bucket: str) -> None:
        self.file = folder / "relay.toml"
        self.store = store
        self.bucket = bucket

    def configure(self, *lines: str, public_url: str = "https://relay.example.com") -> None:
        table = [
            f'public_url = "{public_url}"',
            "[sources.exports]",
            'kind = "s3"',
            f'endpoint_url = "{self.store}"',
            'region = "us-east-1"',
            'access_key_id = "test-key"',
            'secret_access_key = "test-secret"',
            'addressing_style = "path"',
            f'buckets = ["{self.bucket}"]',
            'token = "s3cr3t-token-of-the-hook"',
            *lines,
            "[targets.prod]",
            'kind = "functiongraph"',
            'region = "cn-north-4"',
            'project_id = "0123456789abcdef0123456789abcdef"',
            'access_key = "ak"',
            'secret_key = "s3cr3t-secret-key"',
            "[[routes]]",
            'source = "exports"',
            'key = "*.zip"',
            'target = "prod"',
        ]
        self.file.write_text("\n".join(table))

    def setup(self, *options: str, answer: str = "") -> Result:
        arguments = ["--config", str(self.file), "sources", "setup", "exports", *options]
        result = CliRunner().invoke(cli, arguments, prog_name="relay", input=answer)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "s3cr3t" not in result.output
        return result

    def apply(self) -> dict[str, bool]:
        """The checked settings, and whether each was changed."""
        result = self.setup("--apply", "--yes", "--json")
        assert result.exit_code == 0, result.output
        return {item["what"]: item["changed"] for item in json.loads(result.stdout)["changes"]}


@pytest.fixture
def relay(tmp_path: Path, store: str, name: str) -> Relay:
    return Relay(tmp_path, store, name)


def queue_line(store: str, name: str) -> str:
    return f'sqs_queue_url = "{store}/{ACCOUNT}/{name}"'


def poll(relay: Relay) -> list[Any]:
    """The records in the source's queue, without test events."""
    settings = Handler.Settings(
        kind="s3",
        region="us-east-1",
        endpoint_url=relay.store,
        access_key_id="test-key",
        secret_access_key="test-secret",
        sqs_queue_url=f"{relay.store}/{ACCOUNT}/{relay.bucket}",
    )
    with closing(Handler("exports", settings)) as handler:
        queue = handler.queue()
        assert queue is not None
        with closing(queue):
            bodies = []
            while messages := queue.receive(0):
                bodies += [json.loads(item.body) for item in messages]
                queue.delete(messages)
    return [item for item in bodies if item.get("Event") != "s3:TestEvent"]


def test_an_upload_after_apply_is_in_the_queue(
    relay: Relay, store: str, name: str, s3: Any
) -> None:
    relay.configure(queue_line(store, name))
    changes = relay.apply()
    assert len(changes) == 3
    assert all(changes.values())
    s3.put_object(Bucket=name, Key="a.zip", Body=b"zip")
    s3.put_object(Bucket=name, Key="a.txt", Body=b"txt")
    (document,) = poll(relay)
    assert document["Records"][0]["s3"]["object"]["key"] == "a.zip"


def test_a_second_run_changes_nothing(relay: Relay, store: str, name: str, s3: Any) -> None:
    relay.configure(queue_line(store, name))
    relay.apply()
    before = s3.get_bucket_notification_configuration(Bucket=name)
    assert not any(relay.apply().values())
    after = s3.get_bucket_notification_configuration(Bucket=name)
    assert after["QueueConfigurations"] == before["QueueConfigurations"]
    result = relay.setup("--apply")
    assert result.exit_code == 0
    assert "Nothing to change." in result.stdout


def test_foreign_rules_and_policies_are_kept(
    relay: Relay, store: str, name: str, s3: Any, sqs: Any
) -> None:
    other = sqs.create_queue(QueueName=f"other-{name}")["QueueUrl"]
    current = sqs.get_queue_attributes(QueueUrl=other, AttributeNames=["QueueArn"])
    foreign = {
        "Id": "theirs",
        "QueueArn": current["Attributes"]["QueueArn"],
        "Events": ["s3:ObjectRemoved:*"],
    }
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"QueueConfigurations": [foreign]}
    )
    mine = sqs.create_queue(QueueName=name)["QueueUrl"]
    statement = {"Sid": "theirs", "Effect": "Allow", "Principal": "*", "Action": "sqs:*"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "*"}]}
    sqs.set_queue_attributes(QueueUrl=mine, Attributes={"Policy": json.dumps(policy)})

    relay.configure(queue_line(store, name))
    changes = relay.apply()
    assert list(changes.values()) == [False, True, True]  # the queue was there

    rules = s3.get_bucket_notification_configuration(Bucket=name)["QueueConfigurations"]
    assert {item["Id"] for item in rules} == {"theirs", "relay-exports"}
    document = sqs.get_queue_attributes(QueueUrl=mine, AttributeNames=["Policy"])
    statements = json.loads(document["Attributes"]["Policy"])["Statement"]
    assert [item["Sid"] for item in statements] == ["theirs", "relay-exports"]


def test_a_changed_route_changes_our_rule_without_a_second_rule(
    relay: Relay, store: str, name: str, s3: Any
) -> None:
    relay.configure(queue_line(store, name))
    relay.apply()
    relay.file.write_text(relay.file.read_text().replace("*.zip", "prod/*.tar.zip"))
    changes = relay.apply()
    assert list(changes.values()) == [False, False, True]
    (rule,) = s3.get_bucket_notification_configuration(Bucket=name)["QueueConfigurations"]
    values = {item["Value"] for item in rule["Filter"]["Key"]["FilterRules"]}
    assert values == {"prod/", ".tar.zip"}


class Hook:
    """A web server that records the request bodies."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.came = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        document = json.loads(Request(environ).get_data())
        self.bodies.append(document)
        if document.get("Type") == "Notification" and "Records" in document["Message"]:
            self.came.set()
        return Response("{}")(environ, start_response)


@pytest.fixture
def hook() -> Iterator[tuple[Hook, str]]:
    app = Hook()
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield app, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_through_sns_an_upload_arrives_at_the_hook_and_in_the_queue(
    relay: Relay, store: str, name: str, s3: Any, sns: Any, hook: tuple[Hook, str]
) -> None:
    app, url = hook
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{name}"
    lines = ('accept = ["sns"]', f'sns_topic_arns = ["{topic}"]', queue_line(store, name))
    relay.configure(*lines, public_url=url)
    changes = relay.apply()
    assert all(changes.values())
    assert not any(relay.apply().values())
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    endpoints = {item["Endpoint"] for item in subscriptions}
    assert endpoints == {f"{url}/hooks/exports", f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"}
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert "relay-exports" in [item["Sid"] for item in policy["Statement"]]

    s3.put_object(Bucket=name, Key="a.zip", Body=b"zip")
    assert app.came.wait(20), app.bodies
    document = [
        json.loads(item["Message"]) for item in app.bodies if "Records" in item.get("Message", "")
    ]
    assert document[0]["Records"][0]["s3"]["object"]["key"] == "a.zip"
    wrapped = [item for item in poll(relay) if "Records" in item["Message"]]
    assert json.loads(wrapped[0]["Message"]) == document[0]


def test_apply_asks_for_confirmation(relay: Relay, store: str, name: str, sqs: Any) -> None:
    relay.configure(queue_line(store, name))
    result = relay.setup("--apply", answer="n\n")
    assert result.exit_code == 1
    assert f"queue {name} exists" in result.stdout
    assert not [url for url in sqs.list_queues().get("QueueUrls", ()) if url.endswith(f"/{name}")]
    result = relay.setup("--apply", answer="y\n")
    assert result.exit_code == 0
    assert result.stdout.count("done") == 3


def test_json_output_requires_yes(relay: Relay, store: str, name: str) -> None:
    relay.configure(queue_line(store, name))
    result = relay.setup("--apply", "--json")
    assert result.exit_code == 2
    assert "--yes" in result.stderr


def test_a_source_without_a_destination_is_a_config_error(relay: Relay) -> None:
    relay.configure()
    result = relay.setup("--apply", "--yes")
    assert result.exit_code == 78
    assert "sqs_queue_url" in result.stderr


def test_a_missing_bucket_is_named_in_the_error(
    relay: Relay, store: str, name: str, s3: Any
) -> None:
    relay.configure(queue_line(store, name))
    s3.delete_bucket(Bucket=name)
    result = relay.setup("--apply", "--yes")
    assert result.exit_code == 1
    assert f"There is no such bucket or queue: {name}" in result.stderr


def test_a_rejected_change_is_explained(relay: Relay, store: str, name: str, s3: Any) -> None:
    relay.configure()
    elsewhere = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{name}"
    result = relay.setup("--apply", "--yes", "--arn", elsewhere)
    assert result.exit_code == 1
    assert f"{name} rejects the change" in result.stderr
    assert "The destination must exist" in result.stderr


def test_the_rule_goes_to_the_arn_of_the_option(
    relay: Relay, store: str, name: str, s3: Any, sqs: Any
) -> None:
    sqs.create_queue(QueueName=name)
    relay.configure()
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    result = relay.setup("--apply", "--yes", "--arn", arn)
    assert result.exit_code == 0, result.output
    (rule,) = s3.get_bucket_notification_configuration(Bucket=name)["QueueConfigurations"]
    assert rule["QueueArn"] == arn


def test_a_folder_has_no_changes_to_apply(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f'[sources.inbox]\nkind = "local"\nfolder = "{tmp_path}"\n')
    arguments = ["--config", str(file), "sources", "setup", "inbox", "--apply", "--yes"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 78
    assert "Relay cannot configure storages of kind" in result.stderr


def test_a_topic_of_ceph_posts_to_the_hook_with_the_token(store: str, name: str, s3: Any) -> None:
    """RGW has an SNS API for topics; the server accepts the same calls."""
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:{name}"
    settings = S3Settings.model_validate(
        {
            "kind": "s3",
            "endpoint_url": store,
            "region": "us-east-1",
            "access_key_id": "test-key",
            "secret_access_key": "test-secret",
            "buckets": [name],
            "token": "a token/with odd@signs",
        }
    )
    there = SetupContext("exports", settings, public_url="https://relay.example.com")

    def make() -> list[bool]:
        changed = []
        for change in topic_changes(there, s3, topic):
            changed.append(not change.is_applied())
            if changed[-1]:
                change.apply()
        return changed

    assert topic_attributes(there, "x")["persistent"] == "true"
    assert make() == [True, True]
    assert make() == [False, False]
    (rule,) = s3.get_bucket_notification_configuration(Bucket=name)["TopicConfigurations"]
    assert rule["TopicArn"] == topic


OURS = {"Id": "relay-exports", "QueueArn": "arn:q", "Events": ["s3:ObjectCreated:Put"]}


def test_merging_keeps_all_other_rules() -> None:
    current = {
        "ResponseMetadata": {"HTTPStatusCode": 200},
        "TopicConfigurations": [{"Id": "t", "TopicArn": "arn:t", "Events": ["s3:Replication:*"]}],
        "LambdaFunctionConfigurations": [{"Id": "l", "Events": ["s3:ObjectRemoved:*"]}],
        "EventBridgeConfiguration": {},
        "QueueConfigurations": [{"Id": "q", "QueueArn": "arn:o", "Events": ["s3:ObjectAcl:Put"]}],
    }
    merged = merge_rule(current, "QueueConfigurations", OURS)
    assert merged is not None
    assert "ResponseMetadata" not in merged
    assert merged["EventBridgeConfiguration"] == {}
    assert merged["TopicConfigurations"] == current["TopicConfigurations"]
    assert merged["LambdaFunctionConfigurations"] == current["LambdaFunctionConfigurations"]
    assert [item["Id"] for item in merged["QueueConfigurations"]] == ["q", "relay-exports"]


def test_our_rule_moves_from_a_topic_to_a_queue() -> None:
    old = {"Id": "relay-exports", "TopicArn": "arn:t", "Events": ["s3:ObjectCreated:Put"]}
    merged = merge_rule({"TopicConfigurations": [old]}, "QueueConfigurations", OURS)
    assert merged == {"QueueConfigurations": [OURS]}


@pytest.mark.parametrize(
    ("events", "filters", "enough"),
    [
        (["s3:ObjectCreated:*"], [], True),
        (["s3:ObjectCreated:*"], [{"Name": "Suffix", "Value": "zip"}], True),
        (["s3:ObjectCreated:*"], [{"Name": "Suffix", "Value": ".tar.zip"}], False),
        (["s3:ObjectCreated:*"], [{"Name": "Prefix", "Value": "prod/"}], False),
        (["s3:ObjectRemoved:*"], [], False),
    ],
)
def test_a_foreign_rule_that_covers_ours_is_enough(
    events: list[str], filters: list[dict[str, str]], enough: bool
) -> None:
    ours = {**OURS, "Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".zip"}]}}}
    foreign = {
        "Id": "by hand",
        "QueueArn": "arn:q",
        "Events": events,
        "Filter": {"Key": {"FilterRules": filters}},
    }
    merged = merge_rule({"QueueConfigurations": [foreign]}, "QueueConfigurations", ours)
    assert (merged is None) is enough


def test_a_policy_whose_statement_is_not_a_list_is_kept() -> None:
    foreign = {"Sid": "theirs", "Effect": "Allow"}
    merged = merge_statement({"Version": "2012-10-17", "Statement": foreign}, {"Sid": "ours"})
    assert merged is not None
    assert merged["Statement"] == [foreign, {"Sid": "ours"}]
