"""S3 to SNS to the hook over HTTP with moto; the signature is verified by the production code.

moto signs messages (version 2) and names certificates as SNS does; a fake host serves them. moto
deviates from SNS in three ways, and Relay contains no workaround for them: the signature does not
cover Subject (which notifications of S3 lack), there are no x-amz-sns-* headers, and a subscription
needs no confirmation. Therefore the test sends the confirmation message itself, signed with the key
of moto; Relay then calls the confirmation URL, which leads to the API of moto.
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
    """The public host of SNS: certificates from the backend of moto, confirmations from its API.

    The server of moto does not publish certificates, and identifies a service by the signature.
    """

    def respond(request):
        if request.path.endswith(".pem"):
            return backend()._message_public_keys[request.path[1:]]
        parameters = dict(parse_qsl(request.path.partition("?")[2]))
        assert parameters["Action"] == "ConfirmSubscription"
        try:
            topic.confirm_subscription(TopicArn=parameters["TopicArn"], Token=parameters["Token"])
        except ClientError as error:
            return Reply(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return b"<ConfirmSubscriptionResponse/>"

    internet.serve(SNS, respond)
    return internet


@pytest.fixture
def relay(world, amazon):
    keys = f'accept = ["sns"]\nsns_topic_arns = ["{ARN}"]\n'
    text = world.path.read_text()
    world.path.write_text(text.replace("[sources.exports]\n", f"[sources.exports]\n{keys}"))
    return world.relay()


@pytest.fixture
def hook(world, relay):
    """The URL of the hook on a loopback server."""
    app = create_app(relay.ledger, relay.intake, relay.operations)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks/exports"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def subscription(world, topic, hook):
    """The ARN of a subscription of the hook to the topic, to which the bucket publishes."""
    subscription = topic.subscribe(
        TopicArn=ARN, Protocol="http", Endpoint=hook, ReturnSubscriptionArn=True
    )
    rule = {"TopicArn": ARN, "Events": ["s3:ObjectCreated:*"]}
    world.s3.put_bucket_notification_configuration(
        Bucket="exports", NotificationConfiguration={"TopicConfigurations": [rule]}
    )
    return subscription["SubscriptionArn"]


def test_an_upload_announced_by_sns_is_imported(world, relay, subscription, amazon):
    world.start_worker(relay)
    world.upload()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    notifications = world.ledger.history.notifications(limit=50, cursor=None).items
    assert all(notification.envelopes == ("sns",) for notification in notifications)
    # S3 sends a test event when the rule is created.
    assert verdicts(world) == {Verdict.IGNORED, Verdict.ACCEPTED}
    # moto creates a certificate per message.
    assert [request.path[-4:] for request in amazon.requests] == [".pem"] * 2


def test_a_repeated_message_is_a_duplicate_and_a_changed_message_is_refused(
    world, relay, subscription, hook
):
    bodies = []
    accept = relay.intake.accept

    def record_body(incoming):
        bodies.append(incoming.body)
        return accept(incoming)

    relay.intake.accept = record_body
    world.upload()
    [body] = bodies
    repeated = requests.post(hook, data=body, headers={"Content-Type": "text/plain"}, timeout=5)
    assert (repeated.status_code, repeated.json()["events"]) == (200, 0)
    message = json.loads(body)
    assert "Subject" not in message, "the signature of moto would not cover it"
    message["Message"] = message["Message"].replace("hello.zip", "other.zip")
    changed = requests.post(hook, json=message, timeout=5)
    assert changed.status_code == 401
    assert len(world.imports()) == 1
    late = Incoming("exports", body, utc_now() + timedelta(hours=2))
    with pytest.raises(Unverified):
        accept(late)


def test_the_hook_confirms_the_subscription(world, subscription, hook, amazon):
    message = confirmation(subscription, amazon)
    response = requests.post(
        hook,
        data=json.dumps(message),
        headers={
            "Content-Type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": "SubscriptionConfirmation",
        },
        timeout=5,
    )
    assert response.status_code == 200
    request = amazon.requests[-1]
    assert (request.method, f"https://{SNS}{request.path}") == ("GET", message["SubscribeURL"])
    assert Verdict.HANDSHAKE in verdicts(world)


def test_a_topic_that_does_not_exist_is_not_confirmed(world, topic, subscription, hook, amazon):
    """The confirmation URL returns 404: SNS gets a 503 and must retry; nothing is stored."""
    message = confirmation(subscription, amazon)
    topic.delete_topic(TopicArn=ARN)
    response = requests.post(hook, data=json.dumps(message), timeout=5)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert Verdict.HANDSHAKE not in verdicts(world)


def verdicts(world):
    notifications = world.ledger.history.notifications(limit=50, cursor=None).items
    return {notification.verdict for notification in notifications}


def confirmation(subscription, amazon):
    """Build the message that SNS sends to a new subscriber, signed with the key of moto."""
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
