"""A proxy for webhooks that loses some replies, and garbles others."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress


class FlakyProxy:
    """Pass requests on, each on a connection of its own, as the small test server wants them.

    Attributes:
        share: The share of replies that are lost or garbled.

    """

    def __init__(self, target: int, seed: int) -> None:
        self.share = 0.0
        self._target = target
        self._chance = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError):
            client.settimeout(30)
            request = _request(client)
            with socket.create_connection(("127.0.0.1", self._target), 30) as site:
                site.sendall(request)
                reply = b""
                while chunk := site.recv(65_536):
                    reply += chunk
            outcome = self._chance.random()
            if outcome < self.share / 2:
                return
            client.sendall(b"HTTP/1.0 200 OK\r\n\r\n[tru" if outcome < self.share else reply)


def _request(client: socket.socket) -> bytes:
    """Read one request, and ask for a connection that ends with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65_536)
        if not chunk:
            raise ValueError("no request")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += client.recv(65_536)
    return head + b"\r\nConnection: close\r\n\r\n" + body
