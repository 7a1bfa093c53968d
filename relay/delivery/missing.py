"""Reports tables that left the configuration while deliveries to a paused target wait for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from relay.channels.messages import destination_messages
from relay.config.load import Settings
from relay.ledger import Configured, Ledger
from relay.model import Localized, Problem, Retry

log = logging.getLogger(__name__)


def report_missing(settings: Settings, ledger: Ledger, clock: Callable[[], datetime]) -> int:
    """Post a message about each missing target or channel, once. Return their number."""
    reported = 0
    for path, delivery in ledger.missing.unreported(Configured.of(settings)).items():
        now, outcome = clock(), Retry(_problem(path), not_configured=path)
        messages = destination_messages(settings, delivery, "unconfigured", outcome, now)
        if ledger.missing.report(path, messages, now):
            log.warning("destination unconfigured", extra={"path": path})
            reported += 1
    return reported


def _problem(path: str) -> Problem:
    return Problem(
        f"{path.partition('.')[0]}.unknown",
        Localized(
            f"{path} is not in the configuration, and deliveries wait for it",
            f"配置中没有 {path}，有投递正在等待它",
        ),
        Localized(
            f"Put [{path}] back into relay.toml. If it is paused, resume it as well.",
            f"请在 relay.toml 中恢复 [{path}]。若它处于暂停状态，还需恢复投递。",
        ),
    )
