"""Load generator: posts notifications at a fixed rate (`python -m tests.torture.load` < spec).

Prints a JSON object with statuses, response times and the bodies that got a 2xx. It can also hold
connections open: `idle` connections send nothing, `slow` connections send a byte per second.
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
    """A load: request number n sends `bodies[order[n]]`; `rate` requests per second."""

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
    durations: list[float] = field(default_factory=list)
    accepted: set[int] = field(default_factory=set)
    retry_after: int = 0
    next: int = 0

    async def run(self) -> None:
        kinds = [False] * self.idle + [True] * self.slow
        holding = [asyncio.create_task(self._hold(slow)) for slow in kinds]
        if holding:
            await asyncio.sleep(1)
        self._start = monotonic()
        await asyncio.gather(*(self._send() for _ in range(self.connections)))
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)

    async def _send(self) -> None:
        streams = None
        while (due := self._due()) is not None:
            at, number = due
            await asyncio.sleep(max(at - monotonic(), 0))
            started = monotonic()
            try:
                streams = streams or await asyncio.open_connection(self.host, self.port)
                status, keep_alive = await asyncio.wait_for(self._post(streams, number), TIMEOUT)
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError, IndexError):
                status, keep_alive = "none", False
            self.statuses[status] += 1
            if status == "200":
                self.accepted.add(number)
            if status != "none":
                self.durations.append(monotonic() - started)
            if not keep_alive and streams:
                streams[1].close()
                streams = None
        if streams:
            streams[1].close()

    def _due(self) -> tuple[float, int] | None:
        """Return the time and the body number of the next request, or None at the end."""
        number = self.next
        at = self._start + number / self.rate
        if number >= len(self.order) or monotonic() > self._start + self.seconds:
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
        self.retry_after += status == "503" and "retry-after:" in head
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

    def summary(self) -> dict[str, Any]:
        durations = sorted(self.durations) or [0.0]
        return {
            "statuses": dict(self.statuses),
            "accepted": sorted(self.accepted),
            "retry after": self.retry_after,
            "p50": durations[len(durations) // 2],
            "p99": durations[int(len(durations) * 0.99)],
            "sent": sum(self.statuses.values()),
        }


def main() -> None:
    load = Load(**json.load(sys.stdin))
    asyncio.run(load.run())
    sys.stdout.write(json.dumps(load.summary()))


if __name__ == "__main__":
    main()
