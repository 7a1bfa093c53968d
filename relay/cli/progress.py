"""The progress bar of `relay import`, which makes room for log lines and messages."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from relay.cli.output import visible

LONGEST_LABEL = 40


class ProgressBar:
    """A bar on stderr, shown on a terminal only. Each attempt draws a new bar."""

    def __init__(self, label: str, size: int | None) -> None:
        self._label = visible(label)[:LONGEST_LABEL]
        self._size = size or 0
        self._bar = ExitStack()
        self._advance: Callable[[int], None] | None = None

    def update(self, sent: int) -> None:
        """Advance by `sent` bytes. Implements relay.targets.contract.Progress."""
        if self._advance is None:
            bar = click.progressbar(
                length=self._size,
                label=self._label,
                file=sys.stderr,
                # Without a terminal, click would hide the bar but still print the label.
                hidden=not sys.stderr.isatty(),
            )
            self._advance = self._bar.enter_context(bar).update
        self._advance(sent)

    def finish_line(self) -> None:
        """End the line of the current bar, so that other output begins on a new line."""
        self._advance = None
        self._bar.close()

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        self.finish_line()
        click.echo(visible(text), err=True)

    def before_log_record(self, _: logging.LogRecord) -> bool:
        """Finish the bar's line before a log record is written. Used as a logging filter."""
        self.finish_line()
        return True


@contextmanager
def progress_bar(label: str, size: int | None) -> Iterator[ProgressBar]:
    """Create a bar that ends the current line before any log record."""
    bar = ProgressBar(label, size)
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(bar.before_log_record)
    try:
        yield bar
    finally:
        for handler in handlers:
            handler.removeFilter(bar.before_log_record)
        bar.finish_line()
