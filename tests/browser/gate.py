"""Proxies between browser and server that behave like those of companies, hotels and clouds."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Gate:
    """Listens on a port of its own and passes bytes on, both ways.

    Args:
        port: The port to pass them on to.

    Attributes:
        refuses_websockets: Whether upgrades are refused, as by a proxy of old.
        refused: How many were.
        down: Whether everything is answered with 502, as where the server behind is down.
        brief: Whether each WebSocket is cut a moment after the page has connected.
        polls: How polls are answered once a page has received something: `"empty"` or `"cut"`, at
            once and not by the server; or None.

    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.refuses_websockets = True
        self.refused = 0
        self.down = False
        self.brief = False
        self.polls: str | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = client.recv(65536)
            websocket = b"upgrade: websocket" in head.lower()
            if self.down:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            if self.refuses_websockets and websocket:
                self.refused += 1
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            # `a` is the last packet that the page has.
            if self.polls and b"/csp/comet?" in head and b"&a=0 " not in head:
                client.sendall(answer_to_poll(head, self.polls))
                return
            if self.polls:
                head = head.replace(b"keep-alive", b"close")  # to see each request
            with socket.create_connection(self._target) as server:
                server.sendall(head)

                def look(data: bytes) -> None:
                    if self.brief and websocket and b"CONNECTED" in data:
                        threading.Timer(0.2, cut, (client, server)).start()

                back = threading.Thread(target=_pass_on, args=(server, client, look), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join()


@contextmanager
def gates(port: int) -> Iterator[dict[str, str]]:
    """Open one gate of each kind that `situations.js` needs; return their addresses."""
    opened = {name: Gate(port) for name in ("down", "brief", "empty", "cut")}
    opened["down"].down = True
    opened["brief"].brief = True
    opened["brief"].refuses_websockets = False
    opened["empty"].polls = "empty"
    opened["cut"].polls = "cut"
    try:
        yield {name: gate.url for name, gate in opened.items()}
    finally:
        for gate in opened.values():
            gate.close()


def answer_to_poll(head: bytes, kind: str) -> bytes:
    """Return what a "security" program would answer to a poll."""
    origin = re.search(rb"(?im)^origin: *(\S+)", head)
    assert origin, head
    # "cut": less than was announced.
    body, length = (b"([])\n", 5) if kind == "empty" else (b"", 100)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        b"Access-Control-Allow-Credentials: true\r\nAccess-Control-Allow-Origin: %s\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (origin[1], length, body)
    )


def cut(*sockets: socket.socket) -> None:
    """End both sides of a connection."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def _pass_on(
    source: socket.socket, target: socket.socket, look: Callable[[bytes], None] | None = None
) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
            if look:
                look(data)
        target.shutdown(socket.SHUT_WR)
