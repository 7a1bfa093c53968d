"""Detection of finished files, with injected time and folder."""

from __future__ import annotations

from relay.handlers.local.folder import File, key_of, path_of
from relay.handlers.local.settling import SettlingFiles


def file(size: int = 1) -> File:
    return File("a", inode=1, size=size, modified=size, changed=size)


def test_a_file_is_finished_after_the_quiet_period() -> None:
    files = SettlingFiles(settle=10)
    files.touch("a", 2, now=0)
    assert files.take_finished(lambda _: file(), now=0) == []
    assert files.due() == 2
    assert files.take_finished(lambda _: file(), now=1.9) == []
    assert files.take_finished(lambda _: file(), now=2) == [file()]
    assert files.take_finished(lambda _: file(), now=100) == []
    assert files.due() is None


def test_a_change_after_close_starts_the_settle_time() -> None:
    files = SettlingFiles(settle=10)
    files.touch("a", 2, now=0)
    files.take_finished(lambda _: file(1), now=0)
    assert files.take_finished(lambda _: file(2), now=2) == []
    assert files.take_finished(lambda _: file(2), now=11.9) == []
    assert files.take_finished(lambda _: file(2), now=12) == [file(2)]


def test_another_close_ends_the_settle_time() -> None:
    files = SettlingFiles(settle=10)
    files.touch("a", 10, now=0)
    files.take_finished(lambda _: file(1), now=0)
    files.touch("a", 2, now=5)
    files.take_finished(lambda _: file(2), now=5)
    assert files.take_finished(lambda _: file(2), now=7) == [file(2)]


def test_suspect_does_not_change_an_existing_candidate() -> None:
    files = SettlingFiles(settle=10)
    files.touch("a", 2, now=0)
    files.take_finished(lambda _: file(), now=0)
    files.suspect("a", now=1)
    files.suspect("b", now=1)
    files.take_finished(lambda _: file(), now=1)
    assert files.take_finished(lambda _: file(), now=2) == [file()]
    assert files.due() == 11


def test_a_missing_file_is_forgotten() -> None:
    files = SettlingFiles(settle=10)
    files.touch("a", 2, now=0)
    assert files.take_finished(lambda _: None, now=0) == []
    assert files.due() is None


def test_every_name_has_a_distinct_reversible_key() -> None:
    names = [b"a", b"\xff", rb"\xff", rb"\x5cxff", rb"\x5c", rb"\x41", rb"\\xff", "é".encode()]
    keys = [key_of(name.decode("utf-8", "surrogateescape")) for name in names]
    assert len(set(keys)) == len(names)
    for name, key in zip(names, keys, strict=True):
        key.encode()
        path = path_of(key)
        assert path is not None
        assert path.encode("utf-8", "surrogateescape") == name
