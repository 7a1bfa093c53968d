"""CertificateCache: one fetch for many threads, limited age, and failed fetches."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tokens import NOW, new_key

from relay.errors import PermanentFailure, TemporaryFailure, Unverified
from relay.sources.envelopes import pinned_urls as pinned
from relay.sources.envelopes.certificates import (
    MAX_AGE,
    MAX_CACHED,
    RECHECK_AFTER,
    RETRY_AFTER,
    CertificateCache,
    check_age,
    decode_signature,
    load_certificate,
)
from tests.signers import BEGINS, ENDS, Signer

URL = "https://sns.us-east-1.amazonaws.com/a.pem"
SECOND = timedelta(seconds=1)


class Host:
    """Serves a certificate, or fails."""

    def __init__(self, pem):
        self.pem = pem
        self.fetched = []
        self.down = None

    def fetch(self, url):
        self.fetched.append(url)
        if self.down:
            raise self.down
        return self.pem


@pytest.fixture(scope="module")
def signer(issuer_key):
    return Signer(issuer_key)


@pytest.fixture(scope="module")
def stranger(stranger_key):
    return Signer(stranger_key)


@pytest.fixture
def host(signer):
    return Host(signer.pem)


@pytest.fixture
def certificates(host):
    return CertificateCache(host.fetch)


def down():
    return TemporaryFailure("fetch.refused", "down")


def test_a_certificate_is_fetched_again_after_a_day(certificates, host):
    first = certificates.get(URL, NOW)
    assert certificates.get(URL, NOW + MAX_AGE - SECOND) is first
    assert len(host.fetched) == 1
    certificates.get(URL, NOW + MAX_AGE + SECOND)
    assert len(host.fetched) == 2


def test_each_url_has_a_separate_certificate(certificates, host, signer, stranger):
    first = certificates.get(URL, NOW)
    host.pem = stranger.pem
    other = certificates.get(f"{URL}x", NOW)
    assert (first.key, other.key) == (signer.key.public_key(), stranger.key.public_key())
    assert host.fetched == [URL, f"{URL}x"]


def test_many_threads_fetch_a_certificate_once(signer):
    go_on = threading.Event()
    fetched = []

    def fetch(url):
        fetched.append(url)
        assert go_on.wait(10)
        return signer.pem

    certificates = CertificateCache(fetch)
    with ThreadPoolExecutor(8) as pool:
        # The messages arrived at different times, the first of them last.
        times = [NOW - timedelta(milliseconds=number) for number in range(8)]
        waiting = [pool.submit(certificates.get, URL, time) for time in times]
        while not fetched:
            pass
        go_on.set()
        found = [thread.result(10) for thread in waiting]
    assert fetched == [URL]
    assert all(certificate is found[0] for certificate in found)


def test_waiting_threads_do_not_repeat_a_failed_fetch():
    go_on = threading.Event()
    fetched = []

    def fetch(url):
        fetched.append(url)
        assert go_on.wait(10)
        raise down()

    certificates = CertificateCache(fetch)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(certificates.get, URL, NOW) for _ in range(8)]
        while not fetched:
            pass
        go_on.set()
        assert all(isinstance(thread.exception(10), TemporaryFailure) for thread in waiting)
    assert fetched == [URL]


def test_a_thread_with_a_valid_certificate_does_not_wait_for_a_newer_one(signer):
    fetch_started, go_on = threading.Event(), threading.Event()
    slow = False

    def fetch(url):
        if slow:
            fetch_started.set()
            assert go_on.wait(10)
        return signer.pem

    certificates = CertificateCache(fetch)
    first = certificates.get(URL, NOW)
    slow = True
    later = NOW + MAX_AGE + SECOND
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(certificates.get, URL, later)
        assert fetch_started.wait(10)
        assert certificates.get(URL, later) is first
        assert not fetching.done()
        go_on.set()
        fetching.result(10)


def test_a_slow_url_does_not_delay_another_url(signer):
    fetch_started, go_on = threading.Event(), threading.Event()

    def fetch(url):
        if url.endswith("slow.pem"):
            fetch_started.set()
            assert go_on.wait(10)
        return signer.pem

    certificates = CertificateCache(fetch)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(certificates.get, "https://a.example.com/slow.pem", NOW)
        assert fetch_started.wait(10)
        certificates.get(URL, NOW)
        assert not slow.done()
        go_on.set()
        slow.result(10)


FAILURES = {
    "refused": down(),
    "not a public address": PermanentFailure("outbound.private", "private"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failed_fetch_is_temporary_and_cached_for_some_seconds(certificates, host, failure):
    host.down = failure
    for now in (NOW, NOW + RETRY_AFTER - SECOND):
        with pytest.raises(TemporaryFailure) as raised:
            certificates.get(URL, now)
        assert raised.value.retry_after == RETRY_AFTER
    assert len(host.fetched) == 1
    host.down = None
    certificates.get(URL, NOW + RETRY_AFTER + SECOND)
    assert len(host.fetched) == 2


def test_an_old_certificate_is_used_while_a_newer_one_cannot_be_fetched(certificates, host):
    first = certificates.get(URL, NOW)
    host.down = down()
    later = NOW + MAX_AGE + SECOND
    assert certificates.get(URL, later) is first
    assert certificates.get(URL, later + RECHECK_AFTER - SECOND) is first
    assert len(host.fetched) == 2, "it is not asked for with every message"


def test_an_expired_certificate_that_cannot_be_fetched_again_is_a_temporary_failure(
    host, issuer_key
):
    ends = NOW + timedelta(hours=1)
    host.pem = Signer(issuer_key, ends=ends).pem
    certificates = CertificateCache(host.fetch)
    certificates.get(URL, NOW)
    host.down = down()
    with pytest.raises(TemporaryFailure):
        certificates.get(URL, ends + SECOND)


def test_an_expired_certificate_is_fetched_again_at_once(host, issuer_key, signer):
    ends = NOW + timedelta(hours=1)
    host.pem = Signer(issuer_key, ends=ends).pem
    certificates = CertificateCache(host.fetch)
    certificates.get(URL, NOW)
    host.pem = signer.pem
    renewed = certificates.get(URL, ends + SECOND)
    assert renewed.is_valid(ends + SECOND)
    assert len(host.fetched) == 2


def test_an_invalid_certificate_is_not_fetched_for_every_message(host, issuer_key):
    host.pem = Signer(issuer_key, ends=NOW - SECOND).pem
    certificates = CertificateCache(host.fetch)
    for number in range(5):
        found = certificates.get(URL, NOW + number * SECOND)
        assert not found.is_valid(NOW + number * SECOND)
    assert len(host.fetched) == 1
    certificates.get(URL, NOW + RECHECK_AFTER + SECOND)
    assert len(host.fetched) == 2


def test_a_clock_that_was_set_back_does_not_keep_a_certificate_for_long(certificates, host):
    certificates.get(URL, NOW)
    certificates.get(URL, NOW - timedelta(days=30))
    assert len(host.fetched) == 2


def test_invented_urls_do_not_evict_a_certificate_in_use(certificates, host):
    first = certificates.get(URL, NOW)
    host.down = down()
    for number in range(MAX_CACHED * 3):
        with pytest.raises(TemporaryFailure):
            certificates.get(f"{URL}?{number}", NOW)
    assert certificates.get(URL, NOW) is first
    assert host.fetched.count(URL) == 1


def test_the_cache_evicts_the_least_recently_used_certificate(certificates, host):
    for number in range(MAX_CACHED):
        certificates.get(f"{URL}?{number}", NOW)
    certificates.get(f"{URL}?0", NOW)
    certificates.get(URL, NOW)
    host.fetched.clear()
    certificates.get(f"{URL}?0", NOW)
    assert host.fetched == []
    certificates.get(f"{URL}?1", NOW)
    assert host.fetched == [f"{URL}?1"]


def elliptic():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "notify")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, BEGINS, ENDS)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public_key(signer):
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return signer.key.public_key().public_bytes(serialization.Encoding.PEM, kind)


def test_an_invalid_certificate_file_is_a_temporary_failure(host, signer):
    broken = signer.pem.replace(b"\nMII", b"\nAAA", 1)
    for number, body in enumerate(
        [b"", b"<html>log in</html>", broken, signer.pem[:300], elliptic(), public_key(signer)]
    ):
        host.pem = body
        with pytest.raises(TemporaryFailure):
            CertificateCache(host.fetch).get(f"{URL}?{number}", NOW)


def test_the_first_certificate_of_a_chain_is_used(signer, stranger):
    assert load_certificate(signer.pem + stranger.pem).key == signer.key.public_key()


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()])
def test_a_signature_belongs_to_one_text_one_key_and_one_digest(signer, stranger, digest):
    certificate = load_certificate(signer.pem)
    signature = decode_signature(signer.sign(b"text", digest))
    other = hashes.SHA256() if digest.name == "sha1" else hashes.SHA1()
    assert certificate.verifies(signature, b"text", digest)
    assert not certificate.verifies(signature, b"texts", digest)
    assert not certificate.verifies(signature, b"text", other)
    assert not certificate.verifies(signature[:-1], b"text", digest)
    assert not certificate.verifies(b"", b"text", digest)
    assert not load_certificate(stranger.pem).verifies(signature, b"text", digest)


def test_a_certificate_is_invalid_before_and_after_its_period(signer):
    certificate = load_certificate(signer.pem)
    assert certificate.is_valid(BEGINS)
    assert certificate.is_valid(ENDS)
    assert not certificate.is_valid(BEGINS - SECOND)
    assert not certificate.is_valid(ENDS + SECOND)


def test_a_short_key_is_weak(signer):
    assert load_certificate(signer.pem).is_strong
    assert not load_certificate(Signer(new_key(1024)).pem).is_strong


@pytest.mark.parametrize("text", ["", "====", "not base64!", "AA=A", "签名", "AAAA\n", " AAAA"])
def test_a_signature_that_is_not_base64_is_refused(text):
    with pytest.raises(Unverified):
        decode_signature(text)


def test_the_age_is_limited_in_the_past_and_in_the_future():
    hour = timedelta(hours=1)
    for sent in (NOW - hour, NOW, NOW + hour):
        check_age(sent, NOW, hour)
    early = datetime(1, 1, 1, tzinfo=UTC)
    for sent in (NOW - hour - SECOND, NOW + hour + SECOND, early, None):
        with pytest.raises(Unverified):
            check_age(sent, NOW, hour)


@given(st.text() | st.builds("https://{}/{}".format, st.text(), st.text()))
def test_a_url_is_parsed_as_requests_would_parse_it(url):
    address = pinned.parse_url(url)
    if address is not None:
        query = "" if address.query is None else f"?{address.query}"
        assert f"https://{address.host}{address.path}{query}" == url
        assert url.isascii()


@pytest.mark.parametrize("path", ["/../a.pem", "/a/..", "/" + "a" * pinned.MAX_LENGTH])
def test_urls_with_parent_segments_or_excessive_length_are_refused(path):
    assert pinned.parse_url(f"https://example.com{path}") is None


def test_a_host_pattern_matches_exactly_one_region():
    address = pinned.parse_url("https://sns.us-east-1.amazonaws.com/")
    assert address.has_host(["sns.*.amazonaws.com"])
    assert address.has_host(["other", "sns.us-east-1.amazonaws.com"])
    for pattern in (
        "sns.*.amazonaws.co",
        "*.amazonaws.com",
        "sns.*",
        "*",
        "sns.us-east-.amazonaws.com",
    ):
        assert not address.has_host([pattern])
    assert not address.has_host([])
