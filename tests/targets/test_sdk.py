"""The official SDK as the oracle: it signs as we do, and finds the same credentials."""

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
from relay.targets.functiongraph.access_keys import surroundings
from relay.targets.functiongraph.metadata_service import Metadata
from relay.targets.functiongraph.signing import UNSIGNED, AccessKey, authorization
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.signature import Signed, parse_authorization, sign

# The SDK still asks for the time in a way that newer Pythons warn of.
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


requests_of_any_kind = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(words, max_size=4),
    query=st.lists(st.tuples(words, words | st.booleans() | st.integers()), max_size=4).filter(
        lambda pairs: len({name for name, _ in pairs}) == len(pairs)  # else it compares their types
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


def headers_of(request: Request) -> dict[str, str]:
    stamp = f"{request.when:%Y%m%dT%H%M%SZ}"
    named = {"Host": HOST, "X-Sdk-Date": stamp, "Content-Type": "application/json"}
    if request.declared and request.body:
        digest = hashlib.sha256(request.body).hexdigest()
        named["X-Sdk-Content-Sha256"] = UNSIGNED if request.declared == UNSIGNED else digest
    return {**request.headers, **named}


@given(requests_of_any_kind)
@settings(max_examples=200, deadline=None)
def test_the_official_signer_and_ours_and_the_sandbox_agree(request: Request) -> None:
    headers = headers_of(request)
    theirs = SdkRequest(
        method=request.method,
        schema="https",
        host=HOST,
        resource_path="/v2/" + "/".join(quote(one, safe="") for one in request.segments),
        query_params=list(request.query),
        header_params=dict(headers),
        body=request.body,
    )
    Signer(SimpleNamespace(ak=request.key.id, sk=request.key.secret)).sign(theirs)
    expected = theirs.header_params["Authorization"]

    digest = hashlib.sha256(request.body).hexdigest()
    url = f"https://{HOST}{theirs.uri}"
    assert authorization(request.key, request.method, url, headers, digest) == expected

    read = parse_authorization(expected)
    assert read is not None
    lower = {name.lower(): value for name, value in headers.items()}
    seen = Signed(request.method, theirs.uri, lower)
    declared = headers.get("X-Sdk-Content-Sha256", digest)
    assert sign(request.key.secret, seen, read.signed_headers, declared) == read.signature


@pytest.mark.parametrize("security_token", ["", "ticket"])
def test_the_sdk_finds_the_same_in_the_environment(
    security_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"AK": "an-id", "SK": "a-secret", "PROJECT_ID": "0" * 32}
    for name, value in {**values, "SECURITY_TOKEN": security_token}.items():
        monkeypatch.setenv(f"HUAWEICLOUD_SDK_{name}", value)
    theirs = EnvCredentialProvider.get_basic().get_credentials()
    ours = surroundings()[0]
    assert ours.key == AccessKey(theirs.ak, theirs.sk, theirs.security_token)
    assert ours.project_id == theirs.project_id


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_sdk_finds_the_same_in_the_credentials_file(
    elsewhere: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / ".huaweicloud" / "credentials"
    if elsewhere:
        path = tmp_path / "keys.ini"
        monkeypatch.setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", str(path))
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "[global]\nak = no\nsk = no\n\n[basic]\nAK=an-id\nsk : a=secret;x\n"
        f"# a comment\nproject_id = {'0' * 32}\nsecurity_token = ticket\n"
    )
    theirs = ProfileCredentialProvider.get_basic().get_credentials()
    ours = surroundings()[-1]
    assert ours.key == AccessKey(theirs.ak, theirs.sk, theirs.security_token)
    assert ours.project_id == theirs.project_id


@pytest.mark.parametrize("version", [1, 2])
def test_the_sdk_reads_the_same_from_a_metadata_service(version: int) -> None:
    with SandboxServer(agency_life=timedelta(days=1), metadata_version=version) as cloud:

        class Accessor(MetadataAccessor):
            _METADATA_ENDPOINT = cloud.url

        theirs = Accessor().get_credential()
        metadata = Metadata(cloud.url, HttpClientFactory(), utc_now)
        ours, life = metadata.key()
        metadata.close()
    assert ours == AccessKey(theirs.access, theirs.secret, theirs.security_token)
    ends = time.mktime((utc_now() + life).timetuple())  # the SDK takes UTC for local time
    assert abs(ends - theirs.expire_at) < 5
