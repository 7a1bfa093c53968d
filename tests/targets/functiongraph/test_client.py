"""The API client: length of the sent body, and the meaning of a 404."""

from __future__ import annotations

import pytest
import requests

from relay.errors import OutcomeUnknown, PermanentFailure
from relay.targets.functiongraph.client import TrackedBody
from tests.targets.functiongraph.conftest import FakeServer, MakeTarget

CONFIG = "/functions/hello/config"


class MisreportedBody(list[bytes]):
    """Chunks that announce a total of 4 bytes."""

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize("chunks", [[b"abc"], [b"abc", b"de"]], ids=["shorter", "longer"])
def test_a_body_of_the_wrong_length_never_becomes_a_complete_request(
    fake_server: FakeServer, chunks: list[bytes]
) -> None:
    body = TrackedBody(MisreportedBody(chunks))
    with pytest.raises(ValueError, match="than announced"):
        requests.post(fake_server.url, data=body, timeout=5)
    assert fake_server.requests == []
    assert not body.finished


@pytest.mark.parametrize(
    "chunks", [[b"abcde"], [b"abc", b"de"], [b"abcd", b"e"]], ids=["only", "inside", "after"]
)
def test_no_byte_beyond_the_announced_length_is_sent(chunks: list[bytes]) -> None:
    sent: list[bytes] = []

    def send() -> None:
        for chunk in TrackedBody(MisreportedBody(chunks)):
            sent.append(chunk)  # noqa: PERF402 - what was sent before the error counts

    with pytest.raises(ValueError, match="longer than announced"):
        send()
    assert sent == chunks[:-1]


@pytest.mark.parametrize(
    ("chunks", "error"),
    [([b"abcd", b"e"], OutcomeUnknown), ([b"abc", b"de"], ValueError)],
    ids=["complete", "incomplete"],
)
def test_the_outcome_is_unknown_once_a_complete_request_was_sent(
    fake_server: FakeServer, make_target: MakeTarget, chunks: list[bytes], error: type[Exception]
) -> None:
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    with pytest.raises(error):
        target._client.call("POST", "/x", effect="create", body=MisreportedBody(chunks))


@pytest.mark.parametrize("code", ["FSS.1051", "FSS.0404"])
def test_a_404_of_functiongraph_means_that_the_function_does_not_exist(
    fake_server: FakeServer, make_target: MakeTarget, code: str
) -> None:
    fake_server.status, fake_server.body = 404, {"error_code": code, "error_msg": "not found"}
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    assert target._client.find(CONFIG) is None


@pytest.mark.parametrize("body", [{"error_code": "APIG.0101"}, "<html>404</html>", {}], ids=str)
def test_a_404_of_the_gateway_is_an_error(
    fake_server: FakeServer, make_target: MakeTarget, body: object
) -> None:
    fake_server.status, fake_server.body = 404, body
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    with pytest.raises(PermanentFailure):
        target._client.find(CONFIG)
