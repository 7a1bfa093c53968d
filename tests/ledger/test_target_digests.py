"""Tests of the digests that targets report."""


def test_a_reported_digest_is_stored_for_that_target_only(ledger):
    ledger.digests.remember("prod", "AB", "F00D")
    assert ledger.digests.find("prod", "ab") == "f00d"
    assert ledger.digests.find("stage", "ab") is None
    assert ledger.digests.find("prod", "cd") is None


def test_the_latest_digest_counts(ledger):
    ledger.digests.remember("prod", "ab", "01")
    ledger.digests.remember("prod", "ab", "02")
    assert ledger.digests.find("prod", "ab") == "02"
