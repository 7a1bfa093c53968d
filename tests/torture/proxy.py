"""A reverse proxy that does what nginx does before ours: it waits for the whole request, then asks.

`python -m tests.torture.proxy PORT` prints the port on which it stands before that one.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

LONGEST = 1 << 20


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        while True:
            request = await whole(reader)
            upstream = upstream or await asyncio.open_connection("127.0.0.1", port)
            upstream[1].write(request)
            answer = await whole(upstream[0])
            writer.write(answer)
            await writer.drain()
            if b"connection: close" in answer.lower():
                break
    for one in (writer, upstream[1] if upstream else None):
        if one:
            one.close()


async def whole(reader: asyncio.StreamReader) -> bytes:
    """Head and body of one message that says how long it is."""
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.lower().partition(b"content-length:")
    length = int(rest.partition(b"\r\n")[0] or 0)
    return head + await reader.readexactly(min(length, LONGEST))


async def main(port: int) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: answered(reader, writer, port), "127.0.0.1", 0, limit=LONGEST
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
