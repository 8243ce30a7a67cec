"""A network that can be cut: a proxy that forwards bytes between clients and the server.

A cut is either a reset, which both sides notice, or silence: bytes are lost, as in a tunnel, until
the connections are reset at the end of the cut. During a cut, new connections are either refused,
or accepted and left without an answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any


class Network(threading.Thread):
    """Forwards connections to a port to other ports of this machine, in turn.

    A port that refuses is passed over, as a load balancer does.
    """

    def __init__(self, port: int, server_ports: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self._port, self._server_ports = port, list(server_ports)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._silent = False
        self.start()
        self._ready.wait(10)

    def run(self) -> None:
        """Serve until the program ends."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        await asyncio.start_server(self._accept, "127.0.0.1", self._port, backlog=512)
        self._ready.set()
        await asyncio.Event().wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or (self._cut and not self._silent):
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._writers.add(writer)
        forth: asyncio.StreamWriter | None = None
        try:
            if self._silent:
                await asyncio.Event().wait()  # until the end of the cut resets it
            back, forth = await self._connect()
            self._writers.add(forth)
            await asyncio.gather(self._pass(reader, forth), self._pass(back, writer))
        except (OSError, asyncio.CancelledError):
            # The server is down, the client has gone, or _reset() ends it. Python 3.10 and 3.11
            # print a traceback for each callback of a server that is cancelled.
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, forth):
                if end is not None:
                    end.transport.abort()
                    self._writers.discard(end)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for attempt in range(len(self._server_ports)):
            port = self._server_ports.pop(0)
            self._server_ports.append(port)
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if attempt == len(self._server_ports) - 1:
                    raise
        raise OSError("there is no server")

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self._silent:
                continue
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    # ---- called from the other thread ------------------------------------

    def cut(self, *, silent: bool) -> None:
        """Stop forwarding, either with a reset of open connections, or silently."""
        self._call(self._do_cut(silent))

    def restore(self) -> None:
        """Forward again; connections that were cut silently are now reset."""
        self._call(self._do_restore())

    def _call(self, work: Any) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.result(10)

    async def _do_cut(self, silent: bool) -> None:
        self._cut, self._silent = True, silent
        if not silent:
            self._reset()

    async def _do_restore(self) -> None:
        if self._silent:
            self._reset()
        self._cut = self._silent = False

    def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
