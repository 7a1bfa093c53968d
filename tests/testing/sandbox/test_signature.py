"""The signature check of the sandbox produces the six published vectors."""

import hashlib

import pytest

from relay.testing.sandbox.gateway import (
    EMPTY_BODY,
    UNSIGNED,
    SignedRequest,
    canonical_request,
    parse_authorization,
    parse_date,
    sign,
)

SECRET = "SKEXAMPLE000000000000000000000000000000001"
PROJECT = "0123456789abcdef0123456789abcdef"
FUNCTIONS = f"/v2/{PROJECT}/fgs/functions"
BODY = (
    b'{"func_name": "test", "file_name": "test.zip", "file_type": "zip", '
    b'"file_code": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}'
)
HASH = hashlib.sha256(BODY).hexdigest()
HOST = {
    "host": "functiongraph.cn-north-4.myhuaweicloud.com",
    "x-sdk-date": "20240102T030405Z",
}
JSON = {"content-type": "application/json", **HOST}
SDK = {"user-agent": "relay/1.0", "x-project-id": PROJECT, "x-security-token": "TOKEN"}
URN = f"urn%3Afss%3Acn-north-4%3A{PROJECT}%3Afunction%3Adefault%3Atest%3Alatest"
QUERY = "maxitems=400&marker=0&func_name=a%20b%2F%E4%B8%AD~"

VECTORS = {
    "import": (
        SignedRequest("POST", f"{FUNCTIONS}/import", JSON),
        HASH,
        "498873602adbb1bd69fd33c227b42a651f59f7d0b56ba6853c50f35d4c9128a1",
    ),
    "with temporary keys": (
        SignedRequest("POST", f"{FUNCTIONS}/import", JSON | SDK),
        HASH,
        "d2a9d314c2cd546e657a20493441f41b798781e78ed81c630dee4024653427c9",
    ),
    "colons in the path": (
        SignedRequest("GET", f"{FUNCTIONS}/{URN}/config", JSON),
        EMPTY_BODY,
        "226c7e1d25922554e26e457f5ef5ce58cf2c5ad2b7b3b997971a082b4c50005d",
    ),
    "a query": (
        SignedRequest("GET", f"{FUNCTIONS}?{QUERY}", HOST),
        EMPTY_BODY,
        "bb286996f938c94860586df4381ee7fbe70bf48974a583659d47708bdda7ae8f",
    ),
    "unsigned body": (
        SignedRequest("POST", f"{FUNCTIONS}/import", JSON | {"x-sdk-content-sha256": UNSIGNED}),
        UNSIGNED,
        "bad62f3e0a0c9a223ecfe48886f769ddd327fba4777db381e03a29fa79b93230",
    ),
    "body digest in a header": (
        SignedRequest("POST", f"{FUNCTIONS}/import", JSON | {"x-sdk-content-sha256": HASH}),
        HASH,
        "8c6140ab2c761fd877d4207e6519994130e0a781aee886fedfd70fd4d5279927",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_signature_matches_the_published_vector(name: str) -> None:
    request, body_hash, signature = VECTORS[name]
    assert sign(SECRET, request, sorted(request.headers), body_hash) == signature


def test_the_canonical_request_matches_the_published_request() -> None:
    request, body_hash, _ = VECTORS["import"]
    canonical = canonical_request(request, sorted(request.headers), body_hash)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    assert digest == "f3eb3296bb78985ec98dc639b6343864a6fcdd2a56f6b36429314430f7a1c321"


def test_escaped_and_plain_colons_have_the_same_signature() -> None:
    request, body_hash, signature = VECTORS["colons in the path"]
    plain = SignedRequest("GET", request.target.replace("%3A", ":"), request.headers)
    assert sign(SECRET, plain, sorted(plain.headers), body_hash) == signature


def test_the_authorization_header_is_parsed() -> None:
    header = f"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature={'a' * 64}"
    found = parse_authorization(header)
    assert found is not None
    assert (found.access_key, found.signed_headers) == ("AK", ("host", "x-sdk-date"))


@pytest.mark.parametrize(
    "header", ["", "SDK-HMAC-SHA256", "SDK-HMAC-SHA256 Access=AK, Signature=00", "Bearer x"]
)
def test_a_malformed_authorization_is_none(header: str) -> None:
    assert parse_authorization(header) is None


@pytest.mark.parametrize("text", ["", "20240102", "2024-01-02T03:04:05Z", "20241302T030405Z"])
def test_a_malformed_date_is_none(text: str) -> None:
    assert parse_date(text) is None
