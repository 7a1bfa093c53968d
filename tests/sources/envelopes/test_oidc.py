"""JWTs: issuer, sender, audience and time; and no fetch for invalid tokens."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokens import (
    AUDIENCE,
    EMAIL,
    ENTRA,
    ENTRA_KEYS,
    GOOGLE_KEYS,
    HOUR,
    NOW,
    OIDC,
    TENANT,
    bearer,
    entra,
    google,
    jwk,
    new_key,
    part,
    request,
)

from relay.config.load import SourceSettings
from relay.errors import TemporaryFailure, Unverified
from relay.outbound.fetch import Fetcher
from relay.sources.envelopes import oidc
from relay.sources.envelopes.oidc import JwtEnvelope, JwtVerifier

MINUTE = timedelta(minutes=1)


def verifier_of(provider, issuer, **keys):
    source = SourceSettings(kind="s3", **keys)
    return JwtVerifier(provider.rules(source), "hint", issuer.fetch)


@pytest.fixture
def verifier(issuer):
    return verifier_of(oidc.GOOGLE, issuer, **OIDC)


def show(verifier, token, now=NOW):
    verifier.verify(request(headers=bearer(token), now=now))


def at(when):
    return int(when.timestamp())


GOOD = {
    "as documented": {},
    "the issuer's short name": {"iss": "accounts.google.com"},
    "several audiences": {"aud": ["https://elsewhere", AUDIENCE]},
    "just expired": {"exp": at(NOW) - 59},
    "a clock that is ahead": {"iat": at(NOW) + 60, "nbf": at(NOW) + 60},
    "times as fractions": {"exp": at(NOW) + 0.5, "iat": at(NOW) - 0.5},
}


@pytest.mark.parametrize("claims", GOOD.values(), ids=GOOD)
def test_a_valid_token_is_accepted(verifier, issuer, claims):
    show(verifier, issuer.token(google(**claims)))
    assert issuer.fetched == [GOOGLE_KEYS]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_the_scheme_is_case_insensitive(verifier, issuer, scheme):
    token = issuer.token(google())
    verifier.verify(request(headers={"authorization": f"{scheme} {token} "}))


WRONG = {
    "another issuer": ({"iss": "https://accounts.google.com.evil.example"}, "issuer"),
    "an issuer that is a list": ({"iss": ["https://accounts.google.com"]}, "issuer"),
    "no issuer": ({"iss": None}, "issuer"),
    "another audience": ({"aud": AUDIENCE + "/"}, "audience"),
    "no audience": ({"aud": None}, "audience"),
    "empty audiences": ({"aud": []}, "audience"),
    "audience in an object": ({"aud": {AUDIENCE: AUDIENCE}}, "audience"),
    "another sender": ({"email": "other@my-project.iam.gserviceaccount.com"}, "email"),
    "a sender in other letters": ({"email": EMAIL.upper()}, "email"),
    "no sender": ({"email": None}, "email"),
    "an unverified address": ({"email_verified": False}, "email_verified"),
    "verified, says a text": ({"email_verified": "true"}, "email_verified"),
    "verified, says a number": ({"email_verified": 1}, "email_verified"),
    "expired": ({"exp": at(NOW) - 60}, "expired"),
    "expired long ago": ({"exp": at(NOW - 30 * HOUR), "iat": at(NOW - 31 * HOUR)}, "expired"),
    "never expires": ({"exp": None}, "expired"),
    "expires as text": ({"exp": str(at(NOW + HOUR))}, "expired"),
    "expires as truth": ({"exp": True}, "expired"),
    "expires at no number": ({"exp": float("nan")}, "expired"),
    "from the future": ({"iat": at(NOW) + 61}, "issued"),
    "issued nowhen": ({"iat": None}, "issued"),
    "issued as text": ({"iat": "yesterday"}, "issued"),
    "not valid yet": ({"nbf": at(NOW) + 61}, "not valid yet"),
    "valid from a text": ({"nbf": "x"}, "not valid yet"),
}


@pytest.mark.parametrize(("claims", "word"), WRONG.values(), ids=WRONG)
def test_a_token_with_wrong_claims_is_refused_without_a_fetch(verifier, issuer, claims, word):
    body_claims = {name: value for name, value in google(**claims).items() if value is not None}
    token = f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(body_claims)}.{part(b'x' * 256)}"
    with pytest.raises(Unverified, match=word):
        show(verifier, token)
    assert issuer.fetched == []


def test_an_error_names_the_claim_and_not_the_expected_value(verifier, issuer):
    token = issuer.token(google(email="stranger@example.com"))
    with pytest.raises(Unverified) as caught:
        show(verifier, token)
    error = repr(caught.value.problem)
    for secret in (token, EMAIL, AUDIENCE, "stranger@example.com"):
        assert secret not in error


SHAPES = {
    "nothing": "",
    "words": "let me in",
    "two parts": "a.b",
    "four parts": "a.b.c.d",
    "no base64": "!.!.!",
    "no JSON": f"{part(b'x')}.{part(b'x')}.{part(b'x')}",
    "numbers": f"{part(1)}.{part(1)}.{part(1)}",
    "lists": f"{part([])}.{part([])}.",
    "claims in a list": f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part([google()])}.",
    "no algorithm": f"{part({'kid': 'k1'})}.{part(google())}.",
    "another algorithm": f"{part({'alg': 'RS512', 'kid': 'k1'})}.{part(google())}.",
    "small letters": f"{part({'alg': 'rs256', 'kid': 'k1'})}.{part(google())}.",
    "no key named": f"{part({'alg': 'RS256'})}.{part(google())}.",
    "a number for a key": f"{part({'alg': 'RS256', 'kid': 1})}.{part(google())}.",
    "a key of its own": f"{part({'alg': 'RS256', 'jwk': {}, 'jku': 'https://x'})}.{part({})}.",
    "critical words": f"{part({'alg': 'RS256', 'kid': 'k1', 'crit': ['x']})}.{part(google())}.",
    "a body elsewhere": f"{part({'alg': 'RS256', 'kid': 'k1', 'b64': False})}..",
    "not ASCII": f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(google())}.é",
    "deep": f"{part(b'[' * 3000)}.{part(b'[' * 3000)}.",
    "a huge number": f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(b'9' * 5000)}.",
    "long": f"{part({'alg': 'RS256', 'kid': 'k' * 9000})}.{part(google())}.",
}


@pytest.mark.parametrize("token", SHAPES.values(), ids=SHAPES)
def test_an_invalid_token_is_refused_without_a_fetch(verifier, issuer, token):
    with pytest.raises(Unverified):
        show(verifier, token)
    assert issuer.fetched == []


def test_a_token_signed_with_another_key_is_refused(verifier, issuer, stranger_key):
    with pytest.raises(Unverified, match="signature"):
        show(verifier, issuer.token(google(), key=stranger_key))


def test_an_unsigned_token_is_refused(verifier, issuer):
    for alg in ("none", "None", "NONE", "RS256"):
        with pytest.raises(Unverified):
            show(verifier, issuer.unsigned(google(), alg))


def test_a_token_signed_with_the_public_key_as_secret_is_refused(verifier, issuer):
    with pytest.raises(Unverified, match="RS256"):
        show(verifier, issuer.confused(google()))
    assert issuer.fetched == []


def test_claims_changed_after_signing_are_refused(verifier, issuer):
    head, _, signature = issuer.token(google(email="other@example.com")).split(".")
    with pytest.raises(Unverified, match="signature"):
        show(verifier, f"{head}.{part(google())}.{signature}")


@pytest.mark.parametrize(
    "place",
    [
        {"headers": {}},
        {"headers": {"authorization": "Basic {}"}},
        {"headers": {"authorization": "{}"}},
        {"headers": {"x-authorization": "Bearer {}"}},
        {"query": {"token": "{}"}},
        {"query": {"access_token": "{}"}},
    ],
    ids=str,
)
def test_a_token_outside_the_bearer_header_is_ignored(verifier, issuer, place):
    token = issuer.token(google())
    filled = {
        where: {name: value.format(token) for name, value in pairs.items()}
        for where, pairs in place.items()
    }
    with pytest.raises(Unverified, match="Authorization: Bearer"):
        verifier.verify(request(**filled))
    assert issuer.fetched == []


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choice=st.data())
def test_every_changed_character_is_noticed(verifier, issuer, choice):
    token = issuer.token(google())
    where = choice.draw(st.integers(0, len(token) - 1))
    letter = choice.draw(st.sampled_from(sorted(set("Aa0-_.= é") - {token[where]})))
    with pytest.raises(Unverified):
        show(verifier, token[:where] + letter + token[where + 1 :])


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    header=st.text()
    | st.text().map("Bearer {}".format)
    | st.binary().map(lambda b: f"Bearer {part(b)}.{part(b)}.{part(b)}")
)
def test_no_header_raises_an_unexpected_exception_or_causes_a_fetch(verifier, issuer, header):
    with pytest.raises(Unverified):
        verifier.verify(request(headers={"authorization": header}))
    assert issuer.fetched == []


# Keys


def test_keys_are_cached_for_an_hour(verifier, issuer):
    token = issuer.token(google(exp=at(NOW + 3 * HOUR)))
    for minutes in (0, 1, 30, 59):
        show(verifier, token, NOW + minutes * MINUTE)
    assert len(issuer.fetched) == 1
    show(verifier, token, NOW + HOUR)
    assert len(issuer.fetched) == 2


def test_a_new_key_is_fetched_with_the_first_token_that_names_it(verifier, issuer, stranger_key):
    show(verifier, issuer.token(google()))
    issuer.keys = {"k2": stranger_key}
    show(verifier, issuer.token(google(), kid="k2", key=stranger_key), NOW + MINUTE)
    assert len(issuer.fetched) == 2


def test_unknown_keys_cause_at_most_one_fetch_a_minute(verifier, issuer, stranger_key):
    for second in range(60):
        for _ in range(3):
            with pytest.raises(Unverified, match="does not have"):
                show(
                    verifier,
                    issuer.token(google(), kid=f"k{second + 2}", key=stranger_key),
                    NOW + timedelta(seconds=second),
                )
    assert len(issuer.fetched) == 1
    show(verifier, issuer.token(google()), NOW + MINUTE)
    with pytest.raises(Unverified):
        show(verifier, issuer.token(google(), kid="new", key=stranger_key), NOW + MINUTE)
    assert len(issuer.fetched) == 2


def test_a_retired_key_is_refused(verifier, issuer, stranger_key):
    old = issuer.token(google(exp=at(NOW + 9 * HOUR)))
    show(verifier, old)
    issuer.keys = {"k2": stranger_key}
    with pytest.raises(Unverified):
        show(verifier, old, NOW + HOUR)


def test_old_keys_are_used_while_new_ones_cannot_be_fetched(verifier, issuer):
    token = issuer.token(google(exp=at(NOW + 99 * HOUR)))
    show(verifier, token)
    issuer.down = True
    show(verifier, token, NOW + 5 * HOUR)
    assert len(issuer.fetched) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1, null, []]}', b"[" * 9999],
    ids=repr,
)
def test_an_invalid_key_set_counts_as_a_failed_fetch(verifier, issuer, body):
    issuer.body = body
    with pytest.raises(TemporaryFailure):
        show(verifier, issuer.token(google()))


def test_without_keys_the_sender_is_asked_to_retry(verifier, issuer):
    issuer.down = True
    for _ in range(3):
        with pytest.raises(TemporaryFailure) as caught:
            show(verifier, issuer.token(google()))
        assert caught.value.retry_after == timedelta(seconds=10)
    assert len(issuer.fetched) == 1, "a stranger must not make us ask again and again"
    issuer.down = False
    show(verifier, issuer.token(google()), NOW + timedelta(seconds=10))


def test_a_clock_that_is_set_back_does_not_delay_new_keys(verifier, issuer, stranger_key):
    early = NOW - 24 * HOUR
    show(verifier, issuer.token(google()))
    issuer.keys["k2"] = stranger_key
    claims = google(iat=at(early), exp=at(early + HOUR))
    show(verifier, issuer.token(claims, kid="k2", key=stranger_key), early)


def test_only_public_keys_for_signatures_are_accepted(verifier, issuer):
    short = new_key(1024)
    good = jwk("good", issuer.keys["k1"])
    issuer.more = [
        {"kty": "oct", "kid": "oct", "k": part(b"secret"), "alg": "HS256"},
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "pss", "alg": "PS256"},
        {**good, "kid": "n", "n": "!"},
        {**good, "kid": "e", "e": 3},
        {"kty": "RSA", "kid": "half", "n": good["n"]},
        {**good, "kid": ["list"]},
        jwk("short", short),
    ]
    show(verifier, issuer.token(google()))
    for kid in ("oct", "ec", "enc", "pss", "n", "e", "half"):
        with pytest.raises(Unverified, match="does not have"):
            show(verifier, issuer.token(google(), kid=kid))
    head, body, _ = issuer.token(google(), kid="short").split(".")
    with pytest.raises(Unverified, match="does not have"):
        show(verifier, f"{head}.{body}.{part(b'x' * 128)}")


def test_many_threads_fetch_once(verifier, issuer):
    token = issuer.token(google())
    start = threading.Barrier(8)

    def fetch(_):
        start.wait()
        show(verifier, token)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, range(8)))
    assert len(issuer.fetched) == 1


def test_a_thread_with_an_old_key_does_not_wait_for_a_slow_fetch(issuer):
    fetching, go_on = threading.Event(), threading.Event()

    def fetch(url):
        if issuer.fetched:
            fetching.set()
            assert go_on.wait(10)
        return issuer.fetch(url)

    source = SourceSettings(kind="s3", **OIDC)
    verifier = JwtVerifier(oidc.GOOGLE.rules(source), "hint", fetch)
    token = issuer.token(google(exp=at(NOW + 9 * HOUR)))
    show(verifier, token)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(show, verifier, token, NOW + 2 * HOUR)
        assert fetching.wait(10)
        show(verifier, token, NOW + 2 * HOUR)
        assert not slow.done()
        go_on.set()
        slow.result(10)


def test_keys_are_fetched_over_http_through_the_guard(issuer):
    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            body = issuer.fetch(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fetcher = Fetcher(allow_private=[ip_network("127.0.0.0/8")])
    try:
        # The URL is fixed to Google's host, which resolves to this machine here.
        def fetch(url):
            assert url == GOOGLE_KEYS
            return fetcher(f"http://127.0.0.1:{server.server_port}/oauth2/v3/certs")

        rules = oidc.GOOGLE.rules(SourceSettings(kind="s3", **OIDC))
        show(JwtVerifier(rules, "hint", fetch), issuer.token(google()))
    finally:
        fetcher.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert issuer.fetched == ["/oauth2/v3/certs"]


# Entra

ENTRA_GOOD = {
    "version 1": {},
    "version 2": {
        "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
        "azp": entra()["appid"],
        "appid": None,
    },
}


@pytest.mark.parametrize("claims", ENTRA_GOOD.values(), ids=ENTRA_GOOD)
def test_tokens_of_entra_are_accepted(issuer, claims):
    show(verifier_of(oidc.ENTRA, issuer, **ENTRA), issuer.token(entra(**claims)))
    assert issuer.fetched == [ENTRA_KEYS]


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/"},
        {"iss": f"https://sts.windows.net/{TENANT}"},
        {"iss": "https://accounts.google.com"},
        {"aud": "api://other"},
        {"appid": "00000000-0000-0000-0000-000000000000"},
        {"appid": None},
        {"azp": "00000000-0000-0000-0000-000000000000"},
        {"nbf": at(NOW) + 61},
        {"exp": at(NOW) - 61},
    ],
    ids=str,
)
def test_other_tokens_of_entra_are_refused_without_a_fetch(issuer, claims):
    with pytest.raises(Unverified):
        show(verifier_of(oidc.ENTRA, issuer, **ENTRA), issuer.token(entra(**claims)))
    assert issuer.fetched == []


@pytest.mark.parametrize("tenant", ["../../evil", "a/b?c", "x@evil.example", "é"])
def test_a_tenant_cannot_change_the_host_of_the_fetch(tenant):
    source = SourceSettings(kind="s3", entra_tenant=tenant, entra_audience="a")
    url = oidc.ENTRA.rules(source).keys_url
    assert url.startswith("https://login.microsoftonline.com/")
    assert url.count("/") == ENTRA_KEYS.count("/")
    assert "?" not in url
    assert "@" not in url


# Tokens that an envelope requires


class Both(JwtEnvelope):
    name = "both"
    providers = (oidc.GOOGLE, oidc.ENTRA)
    recognises = unwrap = lambda self, incoming: True


@pytest.mark.parametrize(
    ("keys", "missing"),
    [
        (
            {},
            "oidc_audience and oidc_email, or entra_tenant and entra_audience, or token",
        ),
        ({"token": "t"}, None),
        (OIDC, None),
        (ENTRA, None),
        ({**OIDC, **ENTRA, "token": "t"}, None),
        ({"oidc_audience": AUDIENCE, "token": "t"}, "oidc_email"),
        ({"oidc_email": EMAIL, "token": "t"}, "oidc_audience"),
        ({"entra_tenant": TENANT, "token": "t"}, "entra_audience"),
        ({**OIDC, "entra_audience": "a"}, "entra_tenant"),
        ({**ENTRA, "entra_app": "", "token": "t"}, "entra_app"),
    ],
)
def test_it_is_absent_until_every_setting_of_a_provider_is_set(keys, missing):
    assert Both(SourceSettings(kind="s3", **keys)).missing_setting() == missing


def test_a_token_of_either_configured_provider_is_accepted(issuer):
    both = Both(SourceSettings(kind="s3", **OIDC, **ENTRA), issuer.fetch)
    show(both, issuer.token(google()))
    show(both, issuer.token(entra()))
    assert issuer.fetched == [GOOGLE_KEYS, ENTRA_KEYS]
    with pytest.raises(Unverified):
        show(both, issuer.token(google(iss="https://evil.example")))


@pytest.mark.parametrize("keys", [OIDC, ENTRA, {"oidc_email": EMAIL}])
def test_the_source_token_is_not_enough_if_a_provider_is_configured(issuer, keys):
    both = Both(SourceSettings(kind="s3", token="hook-token", **keys), issuer.fetch)
    with pytest.raises(Unverified):
        show(both, "hook-token")
    with pytest.raises(Unverified):
        both.verify(request(query={"token": "hook-token"}))
    assert issuer.fetched == []


def test_a_jwt_does_not_cover_the_body(issuer, verifier):
    """Only TLS protects the body; RFC 7519 does not cover bodies."""
    headers = bearer(issuer.token(google()))
    for body in (b"{}", b'{"message": 1}'):
        verifier.verify(request(body, headers))
