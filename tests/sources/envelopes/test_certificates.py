"""CertificateCache: fetched once, kept for a while, waited for when they cannot be had."""

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
    """Has a certificate for whoever asks, or not."""

    def __init__(self, pem):
        self.pem = pem
        self.asked = []
        self.down = None

    def fetch(self, url):
        self.asked.append(url)
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


def test_a_certificate_is_fetched_once_and_looked_at_again_after_a_day(certificates, host):
    first = certificates.get(URL, NOW)
    assert certificates.get(URL, NOW + MAX_AGE - SECOND) is first
    assert len(host.asked) == 1
    certificates.get(URL, NOW + MAX_AGE + SECOND)
    assert len(host.asked) == 2


def test_each_address_has_its_own(certificates, host, signer, stranger):
    first = certificates.get(URL, NOW)
    host.pem = stranger.pem
    other = certificates.get(f"{URL}x", NOW)
    assert (first.key, other.key) == (signer.key.public_key(), stranger.key.public_key())
    assert host.asked == [URL, f"{URL}x"]


def test_many_threads_that_need_it_at_once_fetch_it_once(signer):
    go_on = threading.Event()
    asked = []

    def fetch(url):
        asked.append(url)
        assert go_on.wait(10)
        return signer.pem

    certificates = CertificateCache(fetch)
    with ThreadPoolExecutor(8) as pool:
        # Their messages came in at different times, the first of them last.
        times = [NOW - timedelta(milliseconds=number) for number in range(8)]
        waiting = [pool.submit(certificates.get, URL, time) for time in times]
        while not asked:
            pass
        go_on.set()
        found = [thread.result(10) for thread in waiting]
    assert asked == [URL]
    assert all(certificate is found[0] for certificate in found)


def test_threads_that_find_it_is_not_to_be_had_do_not_ask_one_after_the_other():
    go_on = threading.Event()
    asked = []

    def fetch(url):
        asked.append(url)
        assert go_on.wait(10)
        raise down()

    certificates = CertificateCache(fetch)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(certificates.get, URL, NOW) for _ in range(8)]
        while not asked:
            pass
        go_on.set()
        assert all(isinstance(thread.exception(10), TemporaryFailure) for thread in waiting)
    assert asked == [URL]


def test_who_has_a_valid_one_does_not_wait_for_a_newer(signer):
    asked, go_on = threading.Event(), threading.Event()
    slow = False

    def fetch(url):
        if slow:
            asked.set()
            assert go_on.wait(10)
        return signer.pem

    certificates = CertificateCache(fetch)
    first = certificates.get(URL, NOW)
    slow = True
    later = NOW + MAX_AGE + SECOND
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(certificates.get, URL, later)
        assert asked.wait(10)
        assert certificates.get(URL, later) is first
        assert not fetching.done()
        go_on.set()
        fetching.result(10)


def test_another_address_does_not_wait_for_a_slow_one(signer):
    asked, go_on = threading.Event(), threading.Event()

    def fetch(url):
        if url.endswith("slow.pem"):
            asked.set()
            assert go_on.wait(10)
        return signer.pem

    certificates = CertificateCache(fetch)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(certificates.get, "https://a.example.com/slow.pem", NOW)
        assert asked.wait(10)
        certificates.get(URL, NOW)
        assert not slow.done()
        go_on.set()
        slow.result(10)


FAILURES = {
    "refused": down(),
    "not a public address": PermanentFailure("outbound.private", "private"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_as_waiting_and_remembered_for_some_seconds(certificates, host, failure):
    host.down = failure
    for now in (NOW, NOW + RETRY_AFTER - SECOND):
        with pytest.raises(TemporaryFailure) as raised:
            certificates.get(URL, now)
        assert raised.value.retry_after == RETRY_AFTER
    assert len(host.asked) == 1
    host.down = None
    certificates.get(URL, NOW + RETRY_AFTER + SECOND)
    assert len(host.asked) == 2


def test_an_old_one_is_used_while_no_newer_one_can_be_had(certificates, host):
    first = certificates.get(URL, NOW)
    host.down = down()
    later = NOW + MAX_AGE + SECOND
    assert certificates.get(URL, later) is first
    assert certificates.get(URL, later + RECHECK_AFTER - SECOND) is first
    assert len(host.asked) == 2, "it is not asked for with every message"


def test_one_that_has_expired_meanwhile_is_waited_for(host, issuer_key):
    ends = NOW + timedelta(hours=1)
    host.pem = Signer(issuer_key, ends=ends).pem
    certificates = CertificateCache(host.fetch)
    certificates.get(URL, NOW)
    host.down = down()
    with pytest.raises(TemporaryFailure):
        certificates.get(URL, ends + SECOND)


def test_one_that_expires_is_looked_at_again_at_once(host, issuer_key, signer):
    ends = NOW + timedelta(hours=1)
    host.pem = Signer(issuer_key, ends=ends).pem
    certificates = CertificateCache(host.fetch)
    certificates.get(URL, NOW)
    host.pem = signer.pem
    renewed = certificates.get(URL, ends + SECOND)
    assert renewed.is_valid(ends + SECOND)
    assert len(host.asked) == 2


def test_one_that_is_not_valid_is_not_fetched_with_every_message(host, issuer_key):
    host.pem = Signer(issuer_key, ends=NOW - SECOND).pem
    certificates = CertificateCache(host.fetch)
    for number in range(5):
        found = certificates.get(URL, NOW + number * SECOND)
        assert not found.is_valid(NOW + number * SECOND)
    assert len(host.asked) == 1
    certificates.get(URL, NOW + RECHECK_AFTER + SECOND)
    assert len(host.asked) == 2


def test_a_clock_that_was_set_back_does_not_keep_it_for_ever(certificates, host):
    certificates.get(URL, NOW)
    certificates.get(URL, NOW - timedelta(days=30))
    assert len(host.asked) == 2


def test_made_up_addresses_do_not_push_out_the_one_in_use(certificates, host):
    first = certificates.get(URL, NOW)
    host.down = down()
    for number in range(MAX_CACHED * 3):
        with pytest.raises(TemporaryFailure):
            certificates.get(f"{URL}?{number}", NOW)
    assert certificates.get(URL, NOW) is first
    assert host.asked.count(URL) == 1


def test_only_so_many_are_kept_and_the_longest_unused_goes_first(certificates, host):
    for number in range(MAX_CACHED):
        certificates.get(f"{URL}?{number}", NOW)
    certificates.get(f"{URL}?0", NOW)
    certificates.get(URL, NOW)
    host.asked.clear()
    certificates.get(f"{URL}?0", NOW)
    assert host.asked == []
    certificates.get(f"{URL}?1", NOW)
    assert host.asked == [f"{URL}?1"]


def elliptic():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "notify")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, BEGINS, ENDS)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public_key(signer):
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return signer.key.public_key().public_bytes(serialization.Encoding.PEM, kind)


def test_what_is_no_certificate_is_waited_for(host, signer):
    broken = signer.pem.replace(b"\nMII", b"\nAAA", 1)
    for number, body in enumerate(
        [b"", b"<html>log in</html>", broken, signer.pem[:300], elliptic(), public_key(signer)]
    ):
        host.pem = body
        with pytest.raises(TemporaryFailure):
            CertificateCache(host.fetch).get(f"{URL}?{number}", NOW)


def test_the_first_of_a_chain_is_the_one_that_signs(signer, stranger):
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


def test_a_period_has_both_ends(signer):
    certificate = load_certificate(signer.pem)
    assert certificate.is_valid(BEGINS)
    assert certificate.is_valid(ENDS)
    assert not certificate.is_valid(BEGINS - SECOND)
    assert not certificate.is_valid(ENDS + SECOND)


def test_a_short_key_is_weak(signer):
    assert load_certificate(signer.pem).is_strong
    assert not load_certificate(Signer(new_key(1024)).pem).is_strong


@pytest.mark.parametrize("text", ["", "====", "not base64!", "AA=A", "签名", "AAAA\n", " AAAA"])
def test_what_is_no_base64_is_no_signature(text):
    with pytest.raises(Unverified):
        decode_signature(text)


def test_an_age_is_measured_both_ways():
    hour = timedelta(hours=1)
    for sent in (NOW - hour, NOW, NOW + hour):
        check_age(sent, NOW, hour)
    early = datetime(1, 1, 1, tzinfo=UTC)
    for sent in (NOW - hour - SECOND, NOW + hour + SECOND, early, None):
        with pytest.raises(Unverified):
            check_age(sent, NOW, hour)


@given(st.text() | st.builds("https://{}/{}".format, st.text(), st.text()))
def test_an_address_that_is_read_is_the_one_that_requests_would_ask(url):
    address = pinned.parse_url(url)
    if address is not None:
        query = "" if address.query is None else f"?{address.query}"
        assert f"https://{address.host}{address.path}{query}" == url
        assert url.isascii()


@pytest.mark.parametrize("path", ["/../a.pem", "/a/..", "/" + "a" * pinned.MAX_LENGTH])
def test_an_address_goes_nowhere_up_and_has_an_end(path):
    assert pinned.parse_url(f"https://example.com{path}") is None


def test_a_pattern_of_a_host_has_one_region():
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
