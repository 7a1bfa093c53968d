"""A buffering reverse proxy like nginx: it forwards a request only when it is complete.

`python -m tests.torture.proxy PORT` forwards to PORT and prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

LONGEST = 1 << 20


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
) -> None:
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            request = await read_message(reader)
            upstream = upstream or await asyncio.open_connection("127.0.0.1", port)
            upstream[1].write(request)
            response = await read_message(upstream[0])
            writer.write(response)
            await writer.drain()
            if b"connection: close" in response.lower():
                break
    writer.close()
    if upstream:
        upstream[1].close()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Read the head and the body of a message with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    length = int(rest.partition(b"\r\n")[0] or 0)
    return head + await reader.readexactly(min(length, LONGEST))


async def main(port: int) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, port), "127.0.0.1", 0, limit=LONGEST
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
