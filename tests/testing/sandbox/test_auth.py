"""Authentication: tokens from IAM, AK/SK signatures, and the errors of the gateway."""

import base64
import hashlib
import http.client
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from relay.model import utc_now
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.gateway import EMPTY_BODY, UNSIGNED

from .conftest import Client, code_of, import_fields, signed_headers


def login(sandbox: SandboxServer, scope: Any = None, **changes: str) -> requests.Response:
    given = {
        "name": sandbox.iam_user,
        "password": sandbox.iam_password,
        "domain": sandbox.iam_domain,
    } | changes
    user = given | {"domain": {"name": given["domain"]}}
    auth: Any = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if scope is not None:
        auth["scope"] = scope
    url = f"{sandbox.url}/v3/auth/tokens?nocatalog=true"
    return requests.post(url, json={"auth": auth}, timeout=10)


def listing(sandbox: SandboxServer, headers: dict[str, str]) -> requests.Response:
    url = f"{sandbox.url}/v2/{sandbox.project_id}/fgs/functions"
    return requests.get(url, headers=headers, timeout=10)


def with_token(sandbox: SandboxServer, token: str) -> requests.Response:
    return listing(sandbox, {"X-Auth-Token": token})


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_password_gets_a_token_for_a_project(sandbox: SandboxServer, by: str) -> None:
    project = {"name": sandbox.region, "id": sandbox.project_id}[by]
    response = login(sandbox, {"project": {by: project}})
    assert response.status_code == 201
    token = response.json()["token"]
    expires = datetime.fromisoformat(token["expires_at"])
    assert timedelta(hours=23) < expires - utc_now() <= timedelta(hours=24)
    assert token["project"]["id"] == sandbox.project_id
    assert with_token(sandbox, response.headers["X-Subject-Token"]).status_code == 200


@pytest.mark.parametrize("field", ["name", "password", "domain"])
def test_a_wrong_user_gets_no_token(sandbox: SandboxServer, field: str) -> None:
    response = login(sandbox, {"project": {"name": sandbox.region}}, **{field: "wrong"})
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "The username or password is wrong."
    assert "X-Subject-Token" not in response.headers


def test_another_method_is_a_bad_request(sandbox: SandboxServer) -> None:
    body = {"auth": {"identity": {"methods": ["token"]}}}
    response = requests.post(f"{sandbox.url}/v3/auth/tokens", json=body, timeout=10)
    assert response.status_code == 400


def test_a_token_without_a_project_is_not_authorized(sandbox: SandboxServer) -> None:
    token = login(sandbox).headers["X-Subject-Token"]
    assert code_of(with_token(sandbox, token)) == (403, "APIGW.0302")


def test_a_token_of_another_region_must_be_updated(sandbox: SandboxServer) -> None:
    token = login(sandbox, {"project": {"name": "cn-east-3"}}).headers["X-Subject-Token"]
    assert code_of(with_token(sandbox, token)) == (401, "APIGW.0307")


def test_a_token_expires_after_its_lifetime() -> None:
    now = [utc_now()]
    with SandboxServer(clock=lambda: now[0], token_life=timedelta(minutes=5)) as sandbox:
        token = sandbox.issue_token()
        assert with_token(sandbox, token).status_code == 200
        now[0] += timedelta(minutes=5)
        assert code_of(with_token(sandbox, token)) == (401, "APIGW.0307")


def test_all_tokens_can_be_expired(sandbox: SandboxServer) -> None:
    old = sandbox.issue_token()
    sandbox.expire_tokens()
    assert code_of(with_token(sandbox, old)) == (401, "APIGW.0307")
    assert with_token(sandbox, sandbox.issue_token()).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-Auth-Token": "made up"}])
def test_invalid_credentials_are_refused_by_the_gateway(
    sandbox: SandboxServer, headers: dict[str, str]
) -> None:
    response = listing(sandbox, headers)
    assert code_of(response) == (401, "APIGW.0301")
    assert response.json()["request_id"] == response.headers["X-Request-Id"]


def test_invalid_credentials_are_refused_before_the_body_is_read(
    sandbox: SandboxServer, port: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("POST", f"/v2/{sandbox.project_id}/fgs/functions/import")
    connection.putheader("X-Auth-Token", "made up")
    connection.putheader("Content-Length", "300000000")
    connection.endheaders(b"{")
    assert connection.getresponse().status == 401
    connection.close()
    assert sandbox.calls[-1].received == 0


@pytest.fixture
def port(sandbox: SandboxServer) -> int:
    return int(sandbox.url.rsplit(":", 1)[-1])


Post = Callable[..., requests.Response]


@pytest.fixture
def post(sandbox: SandboxServer) -> Iterator[Post]:
    """Post an import signed for `body`; `sent` replaces the body that is sent."""
    target = f"/v2/{sandbox.project_id}/fgs/functions/import"
    body = json.dumps(import_fields()).encode()
    with requests.Session() as session:

        def send(body_hash: str | None = None, sent: bytes = body, **more: str) -> Any:
            digest = hashlib.sha256(body).hexdigest()
            headers = signed_headers(sandbox, "POST", target, body_hash or digest, **more)
            return session.post(sandbox.url + target, data=sent, headers=headers, timeout=20)

        yield send


def test_a_signed_body_is_accepted(sandbox: SandboxServer, post: Post) -> None:
    assert post().status_code == 200
    assert list(sandbox.functions) == ["hello"]


def test_a_body_that_differs_from_the_signed_body_is_refused(
    sandbox: SandboxServer, post: Post
) -> None:
    other = json.dumps(import_fields("other")).encode()
    assert code_of(post(sent=other)) == (401, "APIGW.0301")
    assert sandbox.functions == {}


def test_an_unsigned_body_is_accepted(post: Post) -> None:
    assert post(UNSIGNED, x_sdk_content_sha256=UNSIGNED).status_code == 200


def test_a_body_must_match_the_declared_digest(sandbox: SandboxServer, post: Post) -> None:
    digest = hashlib.sha256(json.dumps(import_fields()).encode()).hexdigest()
    assert code_of(post(EMPTY_BODY, x_sdk_content_sha256=EMPTY_BODY)) == (401, "APIGW.0301")
    assert sandbox.functions == {}
    assert post(digest, x_sdk_content_sha256=digest).status_code == 200


def test_an_unsigned_digest_header_is_refused(post: Post) -> None:
    assert code_of(post(EMPTY_BODY, sent=b"{}")) == (401, "APIGW.0301")


def signed_listing(sandbox: SandboxServer, query: str = "", **more: str) -> requests.Response:
    target = f"/v2/{sandbox.project_id}/fgs/functions{query}"
    headers = signed_headers(sandbox, "GET", target, EMPTY_BODY, **more)
    return requests.get(sandbox.url + target, headers=headers, timeout=10)


def test_a_signed_query_is_accepted(sandbox: SandboxServer) -> None:
    assert (
        signed_listing(sandbox, "?maxitems=4&func_name=%E4%B8%AD%20a&marker=0").status_code == 200
    )


def test_a_wrong_secret_is_refused(sandbox: SandboxServer) -> None:
    right, sandbox.secret_key = sandbox.secret_key, "wrong"
    response = signed_listing(sandbox)
    sandbox.secret_key = right
    assert code_of(response) == (401, "APIGW.0301")
    assert "verify aksk signature fail" in response.json()["error_msg"]
    assert right not in response.text


def test_an_unknown_key_is_named(sandbox: SandboxServer) -> None:
    sandbox.access_key = "UNKNOWN"
    assert "ak:UNKNOWN" in signed_listing(sandbox).json()["error_msg"]


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_wrong_clock_is_refused(sandbox: SandboxServer, minutes: int) -> None:
    wrong = f"{utc_now() + timedelta(minutes=minutes):%Y%m%dT%H%M%SZ}"
    response = signed_listing(sandbox, x_sdk_date=wrong)
    assert code_of(response) == (401, "APIGW.0301")
    assert "15 minutes" in response.json()["error_msg"]


def test_a_clock_within_tolerance_is_accepted(sandbox: SandboxServer) -> None:
    early = f"{utc_now() + timedelta(minutes=14):%Y%m%dT%H%M%SZ}"
    assert signed_listing(sandbox, x_sdk_date=early).status_code == 200


def test_temporary_keys_need_their_security_token() -> None:
    with SandboxServer(security_token="temporary") as sandbox:
        assert signed_listing(sandbox, x_security_token="temporary").status_code == 200
        assert code_of(signed_listing(sandbox)) == (401, "APIGW.0301")
        assert code_of(signed_listing(sandbox, x_security_token="x")) == (401, "APIGW.0301")


def test_the_gateway_limit_applies_only_to_signed_bodies() -> None:
    with SandboxServer(gateway_limit=1000) as sandbox:
        target = f"/v2/{sandbox.project_id}/fgs/functions/import"
        body = json.dumps(import_fields()).encode()
        headers = signed_headers(sandbox, "POST", target, UNSIGNED, x_sdk_content_sha256=UNSIGNED)
        response = requests.post(sandbox.url + target, data=body, headers=headers, timeout=10)
        assert code_of(response) == (413, "APIGW.0201")
        assert response.json()["error_msg"] == "The request body exceeds 12 MB"
        client = Client(sandbox)
        with client.session:
            assert client.import_("hello").status_code == 200


def test_the_project_is_found_by_its_region(sandbox: SandboxServer) -> None:
    response = requests.get(
        f"{sandbox.url}/v3/projects?name=cn-north-4",
        headers={"X-Auth-Token": sandbox.issue_token()},
        timeout=10,
    )
    assert response.json()["projects"][0]["id"] == sandbox.project_id


def test_the_repr_of_the_sandbox_contains_no_secret(sandbox: SandboxServer) -> None:
    text = repr(sandbox)
    assert sandbox.access_key in text
    assert sandbox.secret_key not in text
    assert sandbox.iam_password not in text
    assert base64.b64encode(sandbox.secret_key.encode()).decode() not in text
