"""S3 to SNS to the hook over HTTP, on moto's servers, the signature checked by the real path.

What moto does: it signs for real (version 2) and keeps its certificates where SNS would, at the
names that it writes into its messages; here those names lead to it. Three deviations from SNS are
met as they are, and none is worked around in the relay: it leaves Subject out of what it signs
(S3's notifications have none), sends no x-amz-sns-* headers (the shape of the body tells), and
takes a subscription without asking for a confirmation. So the test sends that one, as SNS writes
it, signed with moto's own key; the relay's visit to its address ends at moto's own API.
"""

import json
import threading
from datetime import timedelta
from urllib.parse import parse_qsl

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from moto.sns.models import sns_backends
from werkzeug.serving import make_server

from relay.errors import Unverified
from relay.model import Incoming, State, Verdict, utc_now
from relay.web.app import create_app
from tests.fake_internet import Reply
from tests.signers import SNS, Signer, confirm_sns, sns

ACCOUNT = "123456789012"
ARN = f"arn:aws:sns:us-east-1:{ACCOUNT}:uploads"
PEM = "/SimpleNotificationService-0123456789abcdef.pem"


def backend():
    return sns_backends[ACCOUNT]["us-east-1"]


@pytest.fixture
def topic(world):
    client = boto3.client(
        "sns",
        endpoint_url=world.store_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test-secret",
    )
    world.stack.callback(client.close)
    assert client.create_topic(Name="uploads")["TopicArn"] == ARN
    return client


@pytest.fixture
def amazon(topic, internet):
    """SNS's public host, which leads to moto: certificates from its backend, for its server has no
    door to them, and confirmations to its API, signed, for it tells services apart by that."""

    def answer(request):
        if request.path.endswith(".pem"):
            return backend()._message_public_keys[request.path[1:]]
        asked = dict(parse_qsl(request.path.partition("?")[2]))
        assert asked["Action"] == "ConfirmSubscription"
        try:
            topic.confirm_subscription(TopicArn=asked["TopicArn"], Token=asked["Token"])
        except ClientError as error:
            return Reply(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return b"<ConfirmSubscriptionResponse/>"

    internet.serve(SNS, answer)
    return internet


@pytest.fixture
def relay(world, amazon):
    keys = f'accept = ["sns"]\nsns_topic_arns = ["{ARN}"]\n'
    text = world.path.read_text()
    world.path.write_text(text.replace("[sources.exports]\n", f"[sources.exports]\n{keys}"))
    return world.relay()


@pytest.fixture
def hook(world, relay):
    """The address of the hook of a real server."""
    app = create_app(relay.intake, relay.operations)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/exports"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def subscription(world, topic, hook):
    """The bucket tells the topic, and the topic tells the hook."""
    made = topic.subscribe(TopicArn=ARN, Protocol="http", Endpoint=hook, ReturnSubscriptionArn=True)
    rule = {"TopicArn": ARN, "Events": ["s3:ObjectCreated:*"]}
    world.s3.put_bucket_notification_configuration(
        Bucket="exports", NotificationConfiguration={"TopicConfigurations": [rule]}
    )
    return made["SubscriptionArn"]


def test_an_upload_that_sns_announces_is_imported(world, relay, subscription, amazon):
    relay.start_worker()
    world.stack.callback(relay.stop_worker, 5)
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    kept = world.ledger.history.notifications(limit=50, cursor=None).items
    assert all(one.envelopes == ("sns",) for one in kept)
    # S3 tries a new rule with an event of its own.
    assert {one.verdict for one in kept} == {Verdict.IGNORED, Verdict.ACCEPTED}
    # moto makes a certificate for every message.
    assert [one.path[-4:] for one in amazon.requests] == [".pem"] * 2


def test_the_same_message_again_is_known_and_a_changed_one_is_refused(
    world, relay, subscription, hook
):
    sent = []
    accept = relay.intake.accept

    def listen(incoming):
        sent.append(incoming.body)
        return accept(incoming)

    relay.intake.accept = listen
    world.upload()
    [body] = sent
    again = requests.post(hook, data=body, headers={"Content-Type": "text/plain"}, timeout=5)
    assert (again.status_code, again.json()["events"]) == (200, 0)
    message = json.loads(body)
    assert "Subject" not in message, "moto would not sign it: see above"
    message["Message"] = message["Message"].replace("hello.zip", "other.zip")
    changed = requests.post(hook, json=message, timeout=5)
    assert changed.status_code == 401
    assert len(world.imports()) == 1
    late = Incoming("exports", body, utc_now() + timedelta(hours=2))
    with pytest.raises(Unverified):
        accept(late)


def test_the_hook_confirms_its_subscription(world, subscription, hook, amazon):
    message = confirmation(subscription, amazon)
    answer = requests.post(
        hook,
        data=json.dumps(message),
        headers={
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": "SubscriptionConfirmation",
        },
        timeout=5,
    )
    assert answer.status_code == 200
    visited = amazon.requests[-1]
    assert (visited.method, f"https://{SNS}{visited.path}") == ("GET", message["SubscribeURL"])
    assert Verdict.HANDSHAKE in verdicts(world)


def test_a_topic_that_does_not_exist_is_not_confirmed(world, topic, subscription, hook, amazon):
    """moto answers the visit with a 404: SNS is told to come again, and nothing is kept."""
    message = confirmation(subscription, amazon)
    topic.delete_topic(TopicArn=ARN)
    answer = requests.post(hook, data=json.dumps(message), timeout=5)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert Verdict.HANDSHAKE not in verdicts(world)


def verdicts(world):
    return {one.verdict for one in world.ledger.history.notifications(limit=50, cursor=None).items}


def confirmation(subscription, amazon):
    """What SNS would have sent to the subscriber, signed as moto signs for it."""
    signer = Signer(backend().subscriptions[subscription].private_key())
    backend()._message_public_keys[PEM[1:]] = signer.pem
    return sns(
        signer,
        utc_now(),
        Type="SubscriptionConfirmation",
        TopicArn=ARN,
        SubscribeURL=confirm_sns(topic=ARN),
        SigningCertURL=f"https://{SNS}{PEM}",
    )
