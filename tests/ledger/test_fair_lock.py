"""The lock that is fair."""

from __future__ import annotations

import threading

from relay.ledger.fair_lock import FairLock


def waiting(turn: FairLock, number: int) -> None:
    """Returns once that many threads queue."""
    done = threading.Event()
    while len(turn._waiters) < number:
        done.wait(0.001)


def test_threads_come_in_by_the_order_in_which_they_asked():
    turn, came = FairLock(), []
    assert turn.acquire(1)

    def work(n: int) -> None:
        assert turn.acquire(10)
        came.append(n)
        turn.release()

    threads = []
    for n in range(10):
        threads.append(threading.Thread(target=work, args=(n,)))
        threads[-1].start()
        waiting(turn, n + 1)
    turn.release()
    for thread in threads:
        thread.join()
    assert came == list(range(10))


def test_who_waited_too_long_leaves_the_queue():
    turn = FairLock()
    assert turn.acquire(1)
    assert not turn.acquire(0.01)
    turn.release()
    assert turn.acquire(0), "the turn went to nobody"


def test_one_at_a_time():
    turn, inside, most = FairLock(), [], []

    def work() -> None:
        for _ in range(50):
            assert turn.acquire(10)
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            turn.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 400
