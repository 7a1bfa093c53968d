"""The composition root: builds a relay from the settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from relay.channels.retrigger_links import add_signed_link
from relay.config.load import Settings
from relay.delivery.changes import call_timing
from relay.delivery.deliver import Deliverer
from relay.delivery.metrics import ProcessMetrics
from relay.delivery.plan import Planner
from relay.delivery.retention_loop import RetentionLoop
from relay.delivery.wake_signal import WakeSignal
from relay.delivery.worker import Worker
from relay.intake.intake import Intake
from relay.intake.queue_poller import QueuePoller
from relay.ledger import Ledger
from relay.model import utc_now
from relay.outbound.fetch import Fetcher
from relay.plugins import Plugins, build, outbound
from relay.web.operations import Operations


class Relay:
    """All parts of a process. The caller decides whether the worker runs."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        plugins: Plugins,
        *,
        clock: Callable[[], datetime] = utc_now,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.plugins = plugins
        self.wake_signal = WakeSignal()
        self.metrics = ProcessMetrics()
        self.fetcher = fetcher or Fetcher(settings.outbound.allow_private)
        self.intake = Intake(
            settings,
            ledger.intake,
            ledger.history,
            plugins.sources,
            clock=clock,
            wake=self.wake_signal.notify,
            fetch=self.fetcher,
        )
        self.worker = Worker(
            settings,
            ledger,
            Deliverer(
                ledger,
                plugins,
                partial(add_signed_link, settings),
                timing=call_timing(settings),
                clock=clock,
            ),
            clock=clock,
            wake_signal=self.wake_signal,
            metrics=self.metrics,
        )
        self.queue_poller = QueuePoller(self.intake, ledger.scans, clock=clock)
        self.retention_loop = RetentionLoop(settings.retention, ledger.retention, clock=clock)
        planner = Planner(settings, plugins, ledger.digests, clock=clock)
        self.operations = Operations(ledger, self.intake, self.queue_poller.scanner, planner)

    @classmethod
    def open(cls, settings: Settings) -> Relay:
        """Open and migrate the ledger, and build every plug-in.

        Raises ConfigError and LedgerUnavailable.
        """
        plugins = build(settings, outbound(settings))
        ledger = Ledger.open(settings.database.url)
        ledger.administration.migrate()
        return cls(settings, ledger, plugins)

    def start_worker(self) -> None:
        """Start the worker, the queue polls, the scans and the retention loop."""
        self.worker.start()
        self.queue_poller.start()
        self.retention_loop.start()

    def ask_to_stop(self, grace: float) -> None:
        """Start no more deliveries, polls or scans; return at once."""
        self.queue_poller.ask_to_stop()
        self.worker.ask_to_stop(grace)

    def stop_worker(self, grace: float) -> None:
        """Stop what `start_worker` started.

        Running deliveries get `grace` seconds, counted from an earlier `ask_to_stop`; then they
        are released.
        """
        self.ask_to_stop(grace)
        self.worker.stop(grace)
        self.queue_poller.stop()
        self.retention_loop.stop()

    def close(self) -> None:
        """Close plug-ins, connections and the ledger."""
        self.plugins.close()
        self.fetcher.close()
        self.ledger.close()
