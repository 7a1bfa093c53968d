"""The API client: the meaning of a 404."""

from __future__ import annotations

import pytest

from relay.errors import PermanentFailure
from tests.targets.functiongraph.conftest import FakeServer, MakeTarget

CONFIG = "/functions/hello/config"


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
