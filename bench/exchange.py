"""The baseline for connecting that does the work: a bare protocol that makes the same exchange.

It reads handshakes and frames, asks the site about CONNECT in batches, and answers CONNECT and
SUBSCRIBE to each client. It has no limits, origins, events, presence or history, and trusts
everybody: this is what any program in Python must do that serves these clients.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import socket
from collections import defaultdict
from typing import Any

import aiohttp

try:
    import uvloop as loops
except ImportError:
    import asyncio as loops  # type: ignore[no-redef]

from .baseline import text_frame

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Calls in a batch, and how long the first of them waits for others.
MOST, WAIT = 100, 0.02

dumps = json.JSONEncoder(separators=(",", ":")).encode


class Site:
    """Asks the site who clients are, many with one request."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession()
        self._asking: list[Exchange] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, client: Exchange) -> None:
        """Ask about a client with the next batch."""
        self._asking.append(client)
        if len(self._asking) == 1:
            asyncio.get_running_loop().call_later(WAIT, self._send, client)
        elif len(self._asking) == MOST:
            self._send(self._asking[0])

    def _send(self, first: Exchange) -> None:
        if self._asking and self._asking[0] is first:  # otherwise they have left already
            asking, self._asking = self._asking, []
            task = asyncio.get_running_loop().create_task(self._post(asking))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _post(self, asking: list[Exchange]) -> None:
        calls = dumps([{"fields": client.fields, "cookie": client.cookie} for client in asking])
        body = dumps({"action": "batch", "calls": calls}).encode()
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as response:
            _, answer = json.loads(await response.read())
        for client, (_, (_, granted)) in zip(asking, answer["answers"], strict=True):
            client.connected(granted["name"])


class Exchange(asyncio.Protocol):
    """One connection."""

    channels: defaultdict[str, set[Exchange]] = defaultdict(set)

    def __init__(self, site: Site) -> None:
        self._site = site
        self._data = b""
        self._is_upgraded = False
        self._waiting: list[list[Any]] | None = None
        self._name = ""
        self.cookie = ""
        self.fields: dict[str, str] = {}

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_upgraded:
            self._upgrade()
        while self._is_upgraded and (text := self._message()) is not None:
            for line in text.split("\r\n")[:-1]:
                frame = json.loads(line)
                if not (isinstance(frame, list) and len(frame) == 3 and isinstance(frame[2], dict)):
                    self._send("ERROR", {"msg": "Invalid frame"})
                elif self._waiting is not None:
                    self._waiting.append(frame)  # the site has not answered
                else:
                    self._handle(*frame)

    def _upgrade(self) -> None:
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        key = headers.get("sec-websocket-key", "")
        if (
            not request.startswith("GET /ws")
            or headers.get("upgrade", "").lower() != "websocket"
            or headers.get("sec-websocket-version") != "13"
            or not key
        ):
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self._transport.close()
            return
        accept = base64.b64encode(hashlib.sha1(f"{key}{GUID}".encode()).digest()).decode()
        self._transport.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        self._is_upgraded, self._data = True, rest
        self.cookie = headers.get("cookie", "")
        self.fields = {
            "action": "connect",
            "conn_id": os.urandom(16).hex(),
            "transport": "websocket",
            "remote_addr": self._transport.get_extra_info("peername")[0],
            "user_agent": headers.get("user-agent", ""),
            "origin": headers.get("origin", ""),
        }

    def _message(self) -> str | None:
        """Return the next message; clients mask it, and send it in one frame."""
        data = self._data
        if len(data) < 6:
            return None
        if data[0] != 0x81 or not data[1] & 0x80:
            self._transport.abort()
            return None
        start, length = 2, data[1] & 0x7F
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        end = start + 4 + length
        if len(data) < end:
            return None
        mask = (data[start : start + 4] * (length // 4 + 1))[:length]
        masked = int.from_bytes(data[start + 4 : end], "big")
        content = (masked ^ int.from_bytes(mask, "big")).to_bytes(length, "big")
        self._data = data[end:]
        return content.decode()

    def _handle(self, number: int, name: str, args: dict[str, Any]) -> None:
        if name == "CONNECT":
            self.fields["payload"] = args.get("payload", "null")
            self._waiting = []
            self._site.ask(self)
        elif name == "SUBSCRIBE" and self._name:
            channel = args["channel_name"]
            self.channels[channel].add(self)
            snapshot = {"channel_name": channel, "user": self._name, "history": [], "state": {}}
            self._send("SUBSCRIBE", {**snapshot, "presence": []})
        else:
            self._send("ERROR", {"id": number, "msg": "Not connected, or an unknown frame"})

    def connected(self, name: str) -> None:
        """Note who the client is, and go on with its frames."""
        self._name = name
        self._send("CONNECTED", {"name": name, "conn_id": self.fields["conn_id"]})
        waiting, self._waiting = self._waiting or [], None
        for frame in waiting:
            self._handle(*frame)

    def _send(self, name: str, args: dict[str, Any]) -> None:
        self._transport.write(text_frame(f"{dumps([1, name, args])}\r\n".encode()))


async def serve(port: int, url: str) -> None:
    """Serve until a signal is received."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    listener.bind(("127.0.0.1", port))
    site = Site(url)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(site), sock=listener, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Serve until a signal is received."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--webhook-url", required=True)
    options = parser.parse_args()
    url = f"{options.webhook_url}/batch"
    loops.new_event_loop().run_until_complete(serve(options.port, url))


if __name__ == "__main__":
    main()
