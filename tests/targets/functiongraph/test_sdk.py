"""Compares signing and credential discovery with the official SDK."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from huaweicloudsdkcore.auth.internal import MetadataAccessor
from huaweicloudsdkcore.auth.provider import EnvCredentialProvider, ProfileCredentialProvider
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.model import utc_now
from relay.outbound.session import HttpClientFactory
from relay.targets.functiongraph.access_keys import discover_credentials
from relay.targets.functiongraph.metadata_service import MetadataService
from relay.targets.functiongraph.signing import UNSIGNED, AccessKey, authorization
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.gateway import SignedRequest, parse_authorization, sign

# The SDK calls datetime.utcnow, which is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

HOST = "functiongraph.cn-north-4.myhuaweicloud.com"
RESERVED = {"host", "x-sdk-date", "authorization", "content-type", "x-sdk-content-sha256"}

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
printable = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=12)
token = st.text("abcXYZ019-_.", min_size=1, max_size=12)
secrets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=44)


@dataclass(frozen=True)
class Request:
    method: str
    segments: list[str]
    query: list[tuple[str, str | bool | int]]
    headers: dict[str, str]
    body: bytes
    declared: str
    when: datetime
    key: AccessKey


any_request = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(words, max_size=4),
    query=st.lists(st.tuples(words, words | st.booleans() | st.integers()), max_size=4).filter(
        lambda pairs: (
            len({name for name, _ in pairs}) == len(pairs)
        )  # the SDK cannot sort values of different types
    ),
    headers=st.dictionaries(token, printable, max_size=4).filter(
        lambda named: (
            not RESERVED & {name.lower() for name in named}
            and len({name.lower() for name in named}) == len(named)
        )
    ),
    body=words.map(str.encode),
    declared=st.sampled_from(["", UNSIGNED, "digest"]),
    when=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - UTC
    key=st.builds(AccessKey, st.text("AKZ019", min_size=1, max_size=20), secrets),
)


def signed_headers(request: Request) -> dict[str, str]:
    stamp = f"{request.when:%Y%m%dT%H%M%SZ}"
    named = {"Host": HOST, "X-Sdk-Date": stamp, "Content-Type": "application/json"}
    if request.declared and request.body:
        digest = hashlib.sha256(request.body).hexdigest()
        named["X-Sdk-Content-Sha256"] = UNSIGNED if request.declared == UNSIGNED else digest
    return {**request.headers, **named}


@given(any_request)
@settings(max_examples=200, deadline=None)
def test_relay_and_the_sandbox_sign_like_the_official_sdk(request: Request) -> None:
    headers = signed_headers(request)
    sdk_request = SdkRequest(
        method=request.method,
        schema="https",
        host=HOST,
        resource_path="/v2/" + "/".join(quote(segment, safe="") for segment in request.segments),
        query_params=list(request.query),
        header_params=dict(headers),
        body=request.body,
    )
    Signer(SimpleNamespace(ak=request.key.id, sk=request.key.secret)).sign(sdk_request)
    expected = sdk_request.header_params["Authorization"]

    digest = hashlib.sha256(request.body).hexdigest()
    url = f"https://{HOST}{sdk_request.uri}"
    assert authorization(request.key, request.method, url, headers, digest) == expected

    parsed = parse_authorization(expected)
    assert parsed is not None
    lower = {name.lower(): value for name, value in headers.items()}
    received = SignedRequest(request.method, sdk_request.uri, lower)
    declared = headers.get("X-Sdk-Content-Sha256", digest)
    assert sign(request.key.secret, received, parsed.signed_headers, declared) == parsed.signature


@pytest.mark.parametrize("security_token", ["", "ticket"])
def test_the_environment_is_read_like_the_sdk_reads_it(
    security_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"AK": "an-id", "SK": "a-secret", "PROJECT_ID": "0" * 32}
    for name, value in {**values, "SECURITY_TOKEN": security_token}.items():
        monkeypatch.setenv(f"HUAWEICLOUD_SDK_{name}", value)
    expected = EnvCredentialProvider.get_basic().get_credentials()
    found = discover_credentials()[0]
    assert found.key == AccessKey(expected.ak, expected.sk, expected.security_token)
    assert found.project_id == expected.project_id


@pytest.mark.parametrize("custom_path", [False, True])
def test_the_credentials_file_is_read_like_the_sdk_reads_it(
    custom_path: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / ".huaweicloud" / "credentials"
    if custom_path:
        path = tmp_path / "keys.ini"
        monkeypatch.setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", str(path))
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "[global]\nak = no\nsk = no\n\n[basic]\nAK=an-id\nsk : a=secret;x\n"
        f"# a comment\nproject_id = {'0' * 32}\nsecurity_token = ticket\n"
    )
    expected = ProfileCredentialProvider.get_basic().get_credentials()
    found = discover_credentials()[-1]
    assert found.key == AccessKey(expected.ak, expected.sk, expected.security_token)
    assert found.project_id == expected.project_id


@pytest.mark.parametrize("version", [1, 2])
def test_the_metadata_service_is_read_like_the_sdk_reads_it(version: int) -> None:
    with SandboxServer(agency_life=timedelta(days=1), metadata_version=version) as cloud:

        class Accessor(MetadataAccessor):
            _METADATA_ENDPOINT = cloud.url

        expected = Accessor().get_credential()
        metadata = MetadataService(cloud.url, HttpClientFactory(), utc_now)
        key, lifetime = metadata.key()
        metadata.close()
    assert key == AccessKey(expected.access, expected.secret, expected.security_token)
    # The SDK reads the UTC time as local time.
    expiry = time.mktime((utc_now() + lifetime).timetuple())
    assert abs(expiry - expected.expire_at) < 5
