"""The bar of `relay import`: how much of an archive went out, and room for words beside it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import click

from relay.cli.output import visible

LONGEST_LABEL = 40


class Bar:
    """A bar on stderr, on a terminal only. Each try has its own, drawn from its first byte on."""

    def __init__(self, label: str, size: int | None) -> None:
        self._label = visible(label)[:LONGEST_LABEL]
        self._size = size or 0
        self._lines = ExitStack()
        self._draw: Callable[[int], None] | None = None

    def update(self, sent: int) -> None:
        """So many more bytes went out: a relay.targets.contract.Progress."""
        if self._draw is None:
            drawn = click.progressbar(
                length=self._size,
                label=self._label,
                file=sys.stderr,
                # Elsewhere click would hide the bar, and print its label all the same.
                hidden=not sys.stderr.isatty(),
            )
            self._draw = self._lines.enter_context(drawn).update
        self._draw(sent)

    def leave(self) -> None:
        """Ends the line; what comes next begins a new one."""
        self._draw = None
        self._lines.close()

    def say(self, words: str) -> None:
        """Words on stderr, on a line of their own."""
        self.leave()
        click.echo(visible(words), err=True)

    def make_room(self, _: logging.LogRecord) -> bool:
        """A filter of log handlers, for what it does: the line that is logged is not glued on."""
        self.leave()
        return True


@contextmanager
def shown(label: str, size: int | None) -> Iterator[Bar]:
    """A bar that what is logged meanwhile gets out of the way of."""
    bar = Bar(label, size)
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(bar.make_room)
    try:
        yield bar
    finally:
        for handler in handlers:
            handler.removeFilter(bar.make_room)
        bar.leave()
