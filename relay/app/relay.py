"""One relay put together from its settings: ledger, plug-ins, intake, desk and worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from relay.channels.retrigger_links import add_signed_link
from relay.config.load import Settings
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
    """Everything one process needs; whether a worker runs in it is for its caller to say."""

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
            ledger,
            plugins.sources,
            clock=clock,
            wake=self.wake_signal.ring,
            fetch=self.fetcher,
        )
        self.worker = Worker(
            settings,
            ledger,
            Deliverer(ledger, plugins, partial(add_signed_link, settings)),
            clock=clock,
            wake_signal=self.wake_signal,
            metrics=self.metrics,
        )
        self.queue_poller = QueuePoller(self.intake, clock=clock)
        self.retention_loop = RetentionLoop(settings, ledger, clock=clock)
        planner = Planner(settings, plugins, ledger.digests, clock=clock)
        self.operations = Operations(self.intake, self.queue_poller.scanner, planner)

    @classmethod
    def open(cls, settings: Settings) -> Relay:
        """Opens the ledger, brings it to the newest version, and makes every plug-in.

        Raises ConfigError and StoreUnavailable.
        """
        plugins = build(settings, outbound(settings))
        ledger = Ledger.open(settings.database.url)
        ledger.administration.migrate()
        return cls(settings, ledger, plugins)

    def start_worker(self) -> None:
        """Starts claiming, pulling and scanning."""
        self.worker.start()
        self.queue_poller.start()
        self.retention_loop.start()

    def ask_to_stop(self, grace: float) -> None:
        """Begins no delivery, poll or scan any more; returns at once."""
        self.queue_poller.ask_to_stop()
        self.worker.ask_to_stop(grace)

    def stop_worker(self, grace: float) -> None:
        """Stops them; deliveries under way get `grace` seconds, from when they were asked to stop
        if they were; then they are given back."""
        self.ask_to_stop(grace)
        self.worker.stop(grace)
        self.queue_poller.stop()
        self.retention_loop.stop()

    def close(self) -> None:
        self.plugins.close()
        self.fetcher.close()
        self.ledger.close()
