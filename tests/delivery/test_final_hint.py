"""The hint of a failure after which Relay gives up."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from relay.config.backoff import Backoff
from relay.delivery.final_hint import final_hint
from relay.delivery.run import give_up
from relay.model import Localized, Problem, Retry, utc_now


@pytest.mark.parametrize(
    ("hint", "final"),
    [
        (("Relay retries.", "Relay 会重试。"), ("", "")),
        (
            ("Relay retries; check the disk.", "Relay 会重试；请检查磁盘。"),
            ("Check the disk. ", "请检查磁盘。"),
        ),
        (
            (
                "Too many requests; Relay waits. Set rate.",
                "请求过于频繁，Relay 会等待。请设置 rate。",
            ),
            ("Too many requests. Set rate. ", "请求过于频繁。请设置 rate。"),
        ),
        (
            ("Allow Relay to read.", "请允许 Relay 读取。"),
            ("Allow Relay to read. ", "请允许 Relay 读取。"),
        ),
    ],
)
def test_a_final_hint_promises_nothing_and_keeps_the_advice(hint, final):
    expected = (final[0] + "Fix the cause, then retrigger.", final[1] + "请排除原因后重新触发。")
    assert final_hint(Localized(*hint)) == expected


def test_a_hint_that_says_to_retrigger_is_kept():
    hint = Localized("Restore it, then retrigger.", "请先恢复，再重新触发。")
    assert final_hint(hint) == hint


def test_a_failure_after_the_last_attempt_does_not_promise_a_retry():
    problem = Problem(
        "storage.busy", Localized("Busy", "繁忙"), Localized("Relay retries.", "Relay 会重试。")
    )
    now = utc_now()
    delivery = SimpleNamespace(due=now, tried_since=now)
    claim = SimpleNamespace(attempt=20, delivery=delivery, is_overdue=False)
    failed = give_up(claim, Retry(problem), now, Backoff(give_up_after=timedelta(days=1)))
    assert failed is not None
    assert failed.gave_up == "attempts"
    assert failed.problem.hint == ("Fix the cause, then retrigger.", "请排除原因后重新触发。")
