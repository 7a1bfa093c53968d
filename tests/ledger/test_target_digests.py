"""What a target showed for a code file is remembered."""


def test_what_a_target_shows_is_remembered_for_that_target_alone(store):
    store.learn("prod", "AB", "F00D")
    assert store.learned("prod", "ab") == "f00d"
    assert store.learned("stage", "ab") is None
    assert store.learned("prod", "cd") is None


def test_the_latest_lesson_counts(store):
    store.learn("prod", "ab", "01")
    store.learn("prod", "ab", "02")
    assert store.learned("prod", "ab") == "02"
