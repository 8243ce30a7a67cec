"""So many connections that a process that stops spreads them: `python -m tests.interop.crowd URL`.

Prints `ready` when all are connected, and then the DISCONNECT frame that one of them receives.
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.client import ClientConnection, connect

from djhookbox.wire.closing import RETURNS_PER_SECOND

from ..stand_ins.frames import Frames, frame


async def enter(url: str) -> ClientConnection:
    websocket = await connect(url, proxy=None, ping_interval=None)
    await websocket.send(frame(1, "CONNECT", {"cookie_string": "", "ack": True}))
    await websocket.recv()
    return websocket


async def main(url: str) -> None:
    crowd = [await enter(url) for _ in range(RETURNS_PER_SECOND)]
    print("ready", flush=True)
    frames = Frames()
    async for message in crowd[0]:
        for name, args in frames.feed(str(message)):
            print(json.dumps([name, args]), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
