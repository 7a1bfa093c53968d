"""Offers notifications at a rate, from a process of its own: `python -m tests.torture.load` < spec.

Prints one JSON object: statuses, seconds of the answers, which bodies got a 2xx. Beside that it may
hold connections open: `idle` ones send nothing, `slow` ones a byte a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

TIMEOUT = 10.0


@dataclass
class Load:
    """What is offered: `bodies[order[n]]` at the n-th moment; `rate` a second for `seconds`."""

    host: str
    port: int
    token: str
    bodies: list[str]
    order: list[int]
    rate: float
    seconds: float
    connections: int = 64
    idle: int = 0
    slow: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    accepted: set[int] = field(default_factory=set)
    told_when: int = 0
    next: int = 0

    async def run(self) -> None:
        kinds = [False] * self.idle + [True] * self.slow
        holding = [asyncio.create_task(self._hold(slow)) for slow in kinds]
        if holding:
            await asyncio.sleep(1)
        self._begin = monotonic()
        await asyncio.gather(*(self._send() for _ in range(self.connections)))
        for one in holding:
            one.cancel()
        await asyncio.gather(*holding, return_exceptions=True)

    async def _send(self) -> None:
        streams = None
        while (due := self._due()) is not None:
            at, number = due
            await asyncio.sleep(max(at - monotonic(), 0))
            began = monotonic()
            try:
                streams = streams or await asyncio.open_connection(self.host, self.port)
                status, stays = await asyncio.wait_for(self._post(streams, number), TIMEOUT)
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError):
                status, stays = "none", False
            self.statuses[status] += 1
            if status == "200":
                self.accepted.add(number)
            if status != "none":
                self.took.append(monotonic() - began)
            if not stays and streams:
                streams[1].close()
                streams = None
        if streams:
            streams[1].close()

    def _due(self) -> tuple[float, int] | None:
        """The moment and the body of the next one; None: it is over."""
        number = self.next
        at = self._begin + number / self.rate
        if number >= len(self.order) or monotonic() > self._begin + self.seconds:
            return None
        self.next += 1
        return at, self.order[number]

    async def _post(self, streams: Any, number: int) -> tuple[str, bool]:
        reader, writer = streams
        body = self.bodies[number].encode()
        writer.write(
            b"POST /hooks/exports HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (self.token.encode(), len(body))
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = head.split(" ", 2)[1]
        length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
        await reader.readexactly(length)
        self.told_when += status == "503" and "retry-after:" in head
        return status, "connection: close" not in head

    async def _hold(self, slow: bool) -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(self.host, self.port)
            try:
                text = b"POST /hooks/exports HTTP/1.1\r\nHost: relay\r\nX-Slow: " + b"a" * 10_000
                for at in range(len(text)):
                    if slow:
                        writer.write(text[at : at + 1])
                    await asyncio.sleep(1)
            finally:
                writer.close()

    def told(self) -> dict[str, Any]:
        took = sorted(self.took) or [0.0]
        return {
            "statuses": dict(self.statuses),
            "accepted": sorted(self.accepted),
            "told when": self.told_when,
            "p50": took[len(took) // 2],
            "p99": took[int(len(took) * 0.99)],
            "sent": sum(self.statuses.values()),
        }


def main() -> None:
    load = Load(**json.load(sys.stdin))
    asyncio.run(load.run())
    sys.stdout.write(json.dumps(load.told()))


if __name__ == "__main__":
    main()
