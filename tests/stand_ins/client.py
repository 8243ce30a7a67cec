"""A client that sends the frames of a page, and waits for the expected ones."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .frames import Frame, Frames, frame
from .upgrade import masked, upgrade
from .waiting import PATIENCE


class Refused(Exception):
    """The server answered ERROR.

    Attributes:
        msg: What the browser reads.
        code: What the browser's program reads.

    """

    def __init__(self, msg: str, code: str) -> None:
        super().__init__(msg, code)
        self.msg = msg
        self.code = code


class Client:
    """A connection; frames that nobody has waited for yet are in `inbox`."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.socket = websocket
        self.inbox: list[Frame] = []
        self.name = ""
        self._frames = Frames()
        self._last_id = 0

    # ---- sending -------------------------------------------------------------

    def send_text(self, text: str) -> None:
        """Send a message as it is."""
        self.socket.send(text)

    def send(self, name: str, /, **args: Any) -> int:
        """Send a frame and return its id."""
        self._last_id += 1
        self.send_text(frame(self._last_id, name, args))
        return self._last_id

    # ---- receiving -----------------------------------------------------------

    def text_of(self, message: str | bytes) -> str:
        """Return the text of a message, which must be of the kind that the server sends."""
        assert isinstance(message, str)
        return message

    def _receive(self, until: float) -> None:
        """Put what arrives next into the inbox."""
        try:
            message = self.socket.recv(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise AssertionError(f"nothing came any more; there is {self.inbox}") from None
        self.inbox += self._frames.feed(self.text_of(message))

    def next(self) -> Frame:
        """Return the next frame, whatever it is."""
        while not self.inbox:
            self._receive(time.monotonic() + PATIENCE)
        return self.inbox.pop(0)

    def expect(self, name: str, /, patience: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """Wait for a frame with these arguments; others stay in the inbox."""
        until = time.monotonic() + patience
        looked_at = 0
        while True:
            for index in range(looked_at, len(self.inbox)):
                kind, args = self.inbox[index]
                if kind == name and fields.items() <= args.items():
                    del self.inbox[index]
                    return args
            looked_at = len(self.inbox)
            self._receive(until)

    def closed(self, patience: float = PATIENCE) -> tuple[int, str]:
        """Wait for the end; return close code and reason."""
        until = time.monotonic() + patience
        try:
            while True:
                self._receive(until)
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")

    def sync(self) -> None:
        """Wait until everything that the server had to say so far is in the inbox."""
        self.expect("ERROR", id=self.send("SYNC"))

    def got(self, name: str) -> list[dict[str, Any]]:
        """Return what has come of one kind until now, and was not expected."""
        self.sync()
        return [args for kind, args in self.inbox if kind == name]

    # ---- asking --------------------------------------------------------------

    def ask(self, name: str, /, **args: Any) -> None:
        """Send a frame and wait for its ACK.

        Raises:
            Refused: If the answer is ERROR.

        """
        self.answer(self.send(name, **args))

    def answer(self, frame_id: int) -> None:
        """Wait for the ACK of a frame.

        Raises:
            Refused: If the answer is ERROR.

        """
        until = time.monotonic() + PATIENCE
        while True:
            for kind, args in self.inbox:
                if kind in ("ACK", "ERROR") and args.get("id") == frame_id:
                    self.inbox.remove((kind, args))
                    if kind == "ERROR":
                        raise Refused(args["msg"], args["code"])
                    return
            self._receive(until)

    def connect(self, **args: Any) -> dict[str, Any]:
        """Send CONNECT and return the arguments of CONNECTED."""
        frame_id = self.send("CONNECT", **{"cookie_string": "", "ack": True, **args})
        until = time.monotonic() + PATIENCE
        while True:
            for kind, answer in self.inbox:
                if kind == "CONNECTED":
                    self.inbox.remove((kind, answer))
                    self.name = answer["name"]
                    return answer
                if kind == "ERROR" and answer["id"] == frame_id:
                    self.inbox.remove((kind, answer))
                    raise Refused(answer["msg"], answer["code"])
            self._receive(until)

    def subscribe(self, channel: str) -> dict[str, Any]:
        """Subscribe and return what the server says about the channel."""
        self.ask("SUBSCRIBE", channel_name=channel)
        return self.expect("SUBSCRIBE", channel_name=channel, user=self.name)

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe."""
        self.ask("UNSUBSCRIBE", channel_name=channel)
        self.expect("UNSUBSCRIBE", channel_name=channel, user=self.name)

    def publish(self, channel: str, payload: Any) -> None:
        """Publish."""
        self.ask("PUBLISH", channel_name=channel, payload=json.dumps(payload))


@contextmanager
def client(
    url: str,
    *,
    origin: str | None,
    session: str = "",
    cookies: str = "",
    headers: dict[str, str] | None = None,
) -> Iterator[Client]:
    """Open a WebSocket as a page of `origin` does in a browser with this session.

    Args:
        url: The server's.
        origin: Of the page; None sends none, as programs do.
        session: The key of the session, if that is all that the cookies say.
        cookies: The cookies.
        headers: Others.

    """
    cookies = cookies or (f"sessionid={session}" if session else "")
    with connect(
        url,
        origin=origin,  # type: ignore[arg-type]
        additional_headers={**({"Cookie": cookies} if cookies else {}), **(headers or {})},
        open_timeout=PATIENCE,
        close_timeout=1,
        max_size=None,  # as browsers; a page that was away for long gets megabytes at once
        ping_interval=None,
        proxy=None,
    ) as websocket:
        yield Client(websocket)


class DeafClient:
    """A socket that has shaken hands and then neither reads nor answers anything."""

    def __init__(self, port: int, origin: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(upgrade(origin))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.socket.recv(1)
        assert answer.startswith(b"HTTP/1.1 101 ")

    def send(self, number: int, name: str, /, **args: Any) -> None:
        """Send a frame."""
        self.socket.sendall(masked(frame(number, name, args)))

    def read_until(self, mark: bytes) -> bytes:
        """Read until some bytes have come."""
        data = b""
        while mark not in data:
            more = self.socket.recv(65_536)
            assert more, f"the end came before {mark!r}: {data!r}"
            data += more
        return data

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
