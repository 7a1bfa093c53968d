"""Tests of the fair lock."""

from __future__ import annotations

import threading

from relay.ledger.sqlite import FairLock


def wait_for_waiters(lock: FairLock, number: int) -> None:
    """Wait until `number` threads are waiting."""
    done = threading.Event()
    while len(lock._waiters) < number:
        done.wait(0.001)


def test_threads_acquire_the_lock_in_order_of_arrival():
    lock, order = FairLock(), []
    assert lock.acquire(1)

    def work(n: int) -> None:
        assert lock.acquire(10)
        order.append(n)
        lock.release()

    threads = []
    for n in range(10):
        threads.append(threading.Thread(target=work, args=(n,)))
        threads[-1].start()
        wait_for_waiters(lock, n + 1)
    lock.release()
    for thread in threads:
        thread.join()
    assert order == list(range(10))


def test_a_timed_out_thread_leaves_the_queue():
    lock = FairLock()
    assert lock.acquire(1)
    assert not lock.acquire(0.01)
    lock.release()
    assert lock.acquire(0), "the turn went to nobody"


def test_only_a_single_thread_holds_the_lock():
    lock, inside, most = FairLock(), [], []

    def work() -> None:
        for _ in range(50):
            assert lock.acquire(10)
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 400
