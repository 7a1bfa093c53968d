"""The metadata service: versions, tokens, the agency and temporary keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import requests

from relay.model import utc_now
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.gateway import EMPTY_BODY, SignedRequest, sign

DAY = timedelta(days=1)
TTL = {"X-Metadata-Token-Ttl-Seconds": "21600"}


@pytest.fixture
def cloud() -> Iterator[SandboxServer]:
    with SandboxServer(agency_life=DAY) as server:
        yield server


def put(sandbox: SandboxServer, headers: dict[str, str]) -> requests.Response:
    return requests.put(f"{sandbox.url}/meta-data/latest/api/token", headers=headers, timeout=5)


def get(sandbox: SandboxServer, token: str = "") -> requests.Response:
    headers = {"X-Metadata-Token": token} if token else {}
    url = f"{sandbox.url}/openstack/latest/securitykey"
    return requests.get(url, headers=headers, timeout=5)


def signed_get(sandbox: SandboxServer, credential: dict[str, str]) -> requests.Response:
    """List the functions with a temporary key."""
    target = f"/v2/{sandbox.project_id}/fgs/functions"
    headers = {
        "host": sandbox.url.removeprefix("http://"),
        "x-sdk-date": f"{utc_now():%Y%m%dT%H%M%SZ}",
        "x-security-token": credential["securitytoken"],
    }
    signature = sign(
        credential["secret"], SignedRequest("GET", target, headers), sorted(headers), EMPTY_BODY
    )
    authorization = (
        f"SDK-HMAC-SHA256 Access={credential['access']}, SignedHeaders={';'.join(sorted(headers))},"
        f" Signature={signature}"
    )
    named = {**headers, "Authorization": authorization}
    return requests.get(sandbox.url + target, headers=named, timeout=5)


def test_a_key_is_returned_for_a_token(cloud: SandboxServer) -> None:
    response = put(cloud, TTL)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/plain")
    credential = get(cloud, response.text).json()["credential"]
    assert set(credential) == {"access", "secret", "securitytoken", "expires_at"}
    assert get(cloud, response.text).json()["credential"] == credential


@pytest.mark.parametrize("token", ["", "guessed"])
def test_no_key_is_returned_without_a_token(token: str, cloud: SandboxServer) -> None:
    assert get(cloud, token).status_code == 401


@pytest.mark.parametrize("seconds", ["", "0", "21601", "-1", "x"])
def test_a_token_is_valid_for_at_most_six_hours(seconds: str, cloud: SandboxServer) -> None:
    assert put(cloud, {"X-Metadata-Token-Ttl-Seconds": seconds}).status_code == 400


def test_version_1_has_no_tokens() -> None:
    with SandboxServer(agency_life=DAY, metadata_version=1) as cloud:
        assert put(cloud, TTL).status_code == 405
        assert get(cloud).status_code == 200


def test_no_key_is_returned_without_an_agency(sandbox: SandboxServer) -> None:
    response = get(sandbox, put(sandbox, TTL).text)
    assert response.status_code == 401
    assert "Please configure Cloud Service Agency first" in response.text


def test_a_new_key_is_issued_before_the_current_key_expires() -> None:
    now = [utc_now()]
    with SandboxServer(agency_life=DAY, metadata_version=1, clock=lambda: now[0]) as cloud:
        first = get(cloud).json()["credential"]
        now[0] += DAY - timedelta(minutes=41)
        assert get(cloud).json()["credential"] == first
        now[0] += timedelta(minutes=2)
        assert get(cloud).json()["credential"]["access"] != first["access"]


def test_a_temporary_key_is_valid_until_it_expires(cloud: SandboxServer) -> None:
    credential = get(cloud, put(cloud, TTL).text).json()["credential"]
    assert signed_get(cloud, credential).status_code == 200
    assert signed_get(cloud, {**credential, "securitytoken": "x"}).status_code == 401
    cloud.expire_agency_keys()
    refused = signed_get(cloud, credential)
    assert (refused.status_code, refused.json()["error_code"]) == (401, "APIGW.0301")
    assert "expired" in refused.json()["error_msg"]


def test_faults_apply_to_the_metadata_service(cloud: SandboxServer) -> None:
    cloud.fault(operation="metadata_token", status=503)
    cloud.fault(operation="metadata_key", status=500)
    assert put(cloud, TTL).status_code == 503
    assert get(cloud).status_code == 500


def test_a_response_has_the_time_of_the_sandbox() -> None:
    then = datetime.fromisoformat("2031-01-01T00:00:00+00:00")
    with SandboxServer(clock=lambda: then) as sandbox:
        assert get(sandbox).headers["Date"] == "Wed, 01 Jan 2031 00:00:00 GMT"
