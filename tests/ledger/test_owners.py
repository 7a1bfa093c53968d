"""Tests of detecting dead owners on this host."""

import os
import subprocess
import sys

from relay.ledger import owners as presence

ASK = "from relay.ledger import owners as presence; print(presence.current_owner())"


def test_this_process_is_not_dead():
    assert not presence.is_dead(presence.current_owner())


def test_every_worker_has_a_unique_name():
    assert presence.current_owner() != presence.current_owner()


def test_a_process_that_ended_is_dead():
    ended = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert presence.is_dead(ended.stdout.strip())


def test_a_reused_process_id_is_not_the_old_process():
    place, pid, started, chance = presence.current_owner().split("/")
    assert int(pid) == os.getpid()
    assert presence.is_dead(f"{place}/{pid}/{int(started) - 1}/{chance}")


def test_a_process_on_another_host_is_never_dead():
    _, pid, started, chance = presence.current_owner().split("/")
    assert not presence.is_dead(f"elsewhere/{pid}/{started}/{chance}")
    assert not presence.is_dead(f"/{pid}/{started}/{chance}")
    assert not presence.is_dead("")


def test_a_hidden_process_is_dead_only_if_kill_reports_it(monkeypatch):
    ended = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    me = presence.current_owner()

    def kept_secret(_pid):
        raise PermissionError

    monkeypatch.setattr(presence, "_start_time", kept_secret)
    assert presence.is_dead(ended.stdout.strip())
    assert not presence.is_dead(me)
    if os.geteuid() == 0:  # else a process of another user
        assert not presence.is_dead(me.replace(f"/{os.getpid()}/", "/1/"))


def test_a_process_without_proc_is_never_dead(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(presence, "_start_time", lambda _pid: (_ for _ in ()).throw(OSError))
        me = presence.current_owner()
    assert not presence.is_dead(me)
    assert me != presence.current_owner()
