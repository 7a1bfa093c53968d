"""When a file counts as whole, with the time and the folder handed in."""

from __future__ import annotations

from relay.handlers.local.folder import File, key_of, path_of
from relay.handlers.local.settling import SettlingFiles


def file(size: int = 1) -> File:
    return File("a", inode=1, size=size, modified=size, changed=size)


def test_it_is_whole_when_it_stayed_the_same_for_as_long_as_was_said() -> None:
    candidates = SettlingFiles(settle=10)
    candidates.touch("a", 2, now=0)
    assert candidates.take_finished(lambda _: file(), now=0) == []
    assert candidates.due() == 2
    assert candidates.take_finished(lambda _: file(), now=1.9) == []
    assert candidates.take_finished(lambda _: file(), now=2) == [file()]
    assert candidates.take_finished(lambda _: file(), now=100) == []
    assert candidates.due() is None


def test_a_change_after_it_was_closed_makes_it_settle() -> None:
    candidates = SettlingFiles(settle=10)
    candidates.touch("a", 2, now=0)
    candidates.take_finished(lambda _: file(1), now=0)
    assert candidates.take_finished(lambda _: file(2), now=2) == []
    assert candidates.take_finished(lambda _: file(2), now=11.9) == []
    assert candidates.take_finished(lambda _: file(2), now=12) == [file(2)]


def test_closing_it_again_ends_the_settling() -> None:
    candidates = SettlingFiles(settle=10)
    candidates.touch("a", 10, now=0)
    candidates.take_finished(lambda _: file(1), now=0)
    candidates.touch("a", 2, now=5)
    candidates.take_finished(lambda _: file(2), now=5)
    assert candidates.take_finished(lambda _: file(2), now=7) == [file(2)]


def test_a_suspicion_does_not_shorten_or_renew_what_is_known() -> None:
    candidates = SettlingFiles(settle=10)
    candidates.touch("a", 2, now=0)
    candidates.take_finished(lambda _: file(), now=0)
    candidates.suspect("a", now=1)
    candidates.suspect("b", now=1)
    candidates.take_finished(lambda _: file(), now=1)
    assert candidates.take_finished(lambda _: file(), now=2) == [file()]
    assert candidates.due() == 11


def test_what_is_gone_is_forgotten() -> None:
    candidates = SettlingFiles(settle=10)
    candidates.touch("a", 2, now=0)
    assert candidates.take_finished(lambda _: None, now=0) == []
    assert candidates.due() is None


def test_every_name_has_a_key_of_its_own_that_leads_back() -> None:
    names = [b"a", b"\xff", rb"\xff", rb"\x5cxff", rb"\x5c", rb"\x41", rb"\\xff", "é".encode()]
    keys = [key_of(name.decode("utf-8", "surrogateescape")) for name in names]
    assert len(set(keys)) == len(names)
    for name, key in zip(names, keys, strict=True):
        key.encode()
        path = path_of(key)
        assert path is not None
        assert path.encode("utf-8", "surrogateescape") == name
