"""A worker that answers each connection with its number and process id, then closes it.

Run as `python -m tests.worker DESCRIPTOR`. The option `fault` names a file; what it
contains happens before the worker serves: "exit" ends it, "hang" lets it do nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from djhookbox.workers.place import Place, take


async def beat(place: Place) -> None:
    while True:
        place.alive()
        await asyncio.sleep(0.05)


async def serve(place: Place) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_reader(place.lifeline, lambda: os._exit(0))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await asyncio.sleep(0.05)
        writer.write(f"{place.number} {os.getpid()}\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=place.listener)
    place.ready()
    beating = asyncio.create_task(beat(place))
    await stopping.wait()
    beating.cancel()
    server.close()
    await asyncio.sleep(0.3)  # answer those who were accepted


if __name__ == "__main__":
    place = take(int(sys.argv[1]))
    fault = Path(place.options["fault"])
    if fault.exists():
        if fault.read_text() == "hang":
            time.sleep(60)
        sys.exit(3)
    asyncio.run(serve(place))
