"""What a target showed for a code file is remembered."""


def test_what_a_target_shows_is_remembered_for_that_target_alone(ledger):
    ledger.digests.remember("prod", "AB", "F00D")
    assert ledger.digests.find("prod", "ab") == "f00d"
    assert ledger.digests.find("stage", "ab") is None
    assert ledger.digests.find("prod", "cd") is None


def test_the_latest_lesson_counts(ledger):
    ledger.digests.remember("prod", "ab", "01")
    ledger.digests.remember("prod", "ab", "02")
    assert ledger.digests.find("prod", "ab") == "02"
