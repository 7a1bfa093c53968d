"""Compares signatures with vectors from the official Huawei Cloud signer."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from relay.targets.functiongraph.signing import (
    UNSIGNED,
    AccessKey,
    authorization,
    host_header,
    sdk_date,
)

KEY = AccessKey("AKEXAMPLE00000000001", "SKEXAMPLE000000000000000000000000000000001")
HOST = "functiongraph.cn-north-4.myhuaweicloud.com"
FUNCTIONS = f"https://{HOST}/v2/0123456789abcdef0123456789abcdef/fgs/functions"
URN = (
    "urn%3Afss%3Acn-north-4%3A0123456789abcdef0123456789abcdef%3Afunction%3Adefault%3Atest%3Alatest"
)
BODY = (
    b'{"func_name": "test", "file_name": "test.zip", "file_type": "zip", '
    b'"file_code": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}'
)
BODY_SHA256 = hashlib.sha256(BODY).hexdigest()
DATED = {"Host": HOST, "X-Sdk-Date": "20240102T030405Z"}
TYPED = {"Content-Type": "application/json", **DATED}
TYPED_NAMES = "content-type;host;x-sdk-date"

VECTORS = {
    "a small body": (
        ("POST", f"{FUNCTIONS}/import", TYPED, BODY_SHA256),
        TYPED_NAMES,
        "498873602adbb1bd69fd33c227b42a651f59f7d0b56ba6853c50f35d4c9128a1",
    ),
    "temporary credentials": (
        (
            "POST",
            f"{FUNCTIONS}/import",
            {
                **TYPED,
                "User-Agent": "relay/1.0",
                "X-Project-Id": "0123456789abcdef0123456789abcdef",
                "X-Security-Token": "TOKEN",
            },
            BODY_SHA256,
        ),
        "content-type;host;user-agent;x-project-id;x-sdk-date;x-security-token",
        "d2a9d314c2cd546e657a20493441f41b798781e78ed81c630dee4024653427c9",
    ),
    "colons in the path": (
        ("GET", f"{FUNCTIONS}/{URN}/config", TYPED),
        TYPED_NAMES,
        "226c7e1d25922554e26e457f5ef5ce58cf2c5ad2b7b3b997971a082b4c50005d",
    ),
    "a query in any order": (
        (
            "GET",
            f"{FUNCTIONS}?maxitems=400&marker=0&func_name=a%20b%2F%E4%B8%AD~",
            DATED,
        ),
        "host;x-sdk-date",
        "bb286996f938c94860586df4381ee7fbe70bf48974a583659d47708bdda7ae8f",
    ),
    "a streamed body": (
        ("POST", f"{FUNCTIONS}/import", {**TYPED, "X-Sdk-Content-Sha256": UNSIGNED}),
        "content-type;host;x-sdk-content-sha256;x-sdk-date",
        "bad62f3e0a0c9a223ecfe48886f769ddd327fba4777db381e03a29fa79b93230",
    ),
    "a digest made beforehand": (
        ("POST", f"{FUNCTIONS}/import", {**TYPED, "X-Sdk-Content-Sha256": BODY_SHA256}),
        "content-type;host;x-sdk-content-sha256;x-sdk-date",
        "8c6140ab2c761fd877d4207e6519994130e0a781aee886fedfd70fd4d5279927",
    ),
}


@pytest.mark.parametrize("case", VECTORS)
def test_the_signature_is_the_one_of_the_official_signer(case: str) -> None:
    request, names, signature = VECTORS[case]
    assert authorization(KEY, *request) == (
        f"SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, SignedHeaders={names}, Signature={signature}"
    )


def test_a_header_with_an_underscore_is_not_signed() -> None:
    plain = authorization(KEY, "GET", FUNCTIONS, DATED)
    assert authorization(KEY, "GET", FUNCTIONS, {**DATED, "x_odd": "1"}) == plain


def test_the_date_is_in_utc() -> None:
    assert sdk_date(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)) == "20240102T030405Z"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/x", "example.com"),
        ("https://example.com:443/x", "example.com"),
        ("http://example.com:443/x", "example.com:443"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_the_host_header_matches_what_http_clients_send(url: str, host: str) -> None:
    assert host_header(url) == host


def test_the_secret_is_not_shown() -> None:
    assert KEY.secret not in repr(KEY)
