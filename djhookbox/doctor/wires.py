"""Speak HTTP and WebSocket as a browser does: the parts that the checks need."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from .. import certificates
from ..wire.values import JSONObject

#: Appended to the key of a handshake (RFC 6455, section 1.3).
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: The opcode of a text message.
_TEXT = 1
#: Bytes of an answer that are read.
MOST = 65_536
AGENT = "djhookbox-doctor"


class NoAnswer(Exception):
    """There was no usable answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


def connection(url: str, timeout: float, context: ssl.SSLContext | None = None) -> HTTPConnection:
    """Return a connection to the host of a URL that is not open yet."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return HTTPSConnection(host, parts.port, timeout=timeout, context=context or tls())
    return HTTPConnection(host, parts.port, timeout=timeout)


def tls() -> ssl.SSLContext:
    """Return the context that verifies certificates as the site does."""
    path = certificates.ca_path()
    if path is not None and os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def request(
    method: str,
    url: str,
    timeout: float,
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
) -> Answer:
    """Make a request and return the beginning of its answer.

    Raises:
        NoAnswer: There is none.

    """
    parts = urlsplit(url)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    with closing(connection(url, timeout)) as http:
        try:
            http.request(method, target, body, {"User-Agent": AGENT, **(headers or {})})
            return _answer(http.getresponse())
        except (OSError, HTTPException) as problem:
            raise NoAnswer(explain(problem)) from problem


def _answer(response: HTTPResponse) -> Answer:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        # Only Set-Cookie may be repeated and must not be joined by commas.
        before = headers.get(name.lower())
        headers[name.lower()] = value if before is None else f"{before}\n{value}"
    return Answer(response.status, headers, response.read(MOST).decode(errors="replace"))


def explain(problem: Exception) -> str:
    """Return an exception of the network as words."""
    if isinstance(problem, TimeoutError):
        return "timed out"
    return str(getattr(problem, "strerror", None) or problem) or type(problem).__name__


class WebSocket:
    """An open WebSocket. Use `WebSocket.open`."""

    def __init__(self, sock: socket.socket, rest: bytes) -> None:
        self._socket = sock
        self._buffer = rest

    @classmethod
    def open(
        cls, url: str, origin: str, timeout: float, more: Mapping[str, str] | None = None
    ) -> WebSocket | Answer:
        """Shake hands; return the answer if it is not a WebSocket.

        Args:
            url: The address as http or https.
            origin: The origin of the page.
            timeout: Seconds to wait.
            more: Further headers.

        Raises:
            NoAnswer: There is no answer.

        """
        parts = urlsplit(url)
        key = base64.b64encode(os.urandom(16)).decode()
        http = connection(url, timeout)
        headers = {
            "User-Agent": AGENT,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
            **({"Origin": origin} if origin else {}),
            **(more or {}),
        }
        try:
            http.request("GET", parts.path or "/", headers=headers)
            sock = http.sock
            head, rest = _head(sock)
        except (OSError, HTTPException) as problem:
            http.close()
            raise NoAnswer(explain(problem)) from problem
        accepted = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()  # noqa: S324 - RFC 6455
        if head.status == 101 and head.headers.get("sec-websocket-accept") == accepted:
            return cls(sock, rest)
        with closing(http):
            rest += _body(sock, head.headers, len(rest))
            return Answer(head.status, head.headers, rest.decode(errors="replace"))

    def send(self, text: str) -> None:
        """Send a message of less than 64 KiB.

        Raises:
            NoAnswer: The connection is lost.

        """
        data = text.encode()
        size = (
            bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        )
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        try:
            self._socket.sendall(b"\x81" + size + mask + masked)
        except OSError as problem:
            raise NoAnswer(explain(problem)) from problem

    def pong(self) -> None:
        """Answer a ping, or the process would take the connection for dead.

        Raises:
            NoAnswer: The connection is lost.

        """
        try:
            self._socket.sendall(b"\x8a\x80\0\0\0\0")
        except OSError as problem:
            raise NoAnswer(explain(problem)) from problem

    def receive(self, timeout: float) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame.

        Raises:
            NoAnswer: The connection is lost, or nothing came in time.

        """
        self._socket.settimeout(timeout)
        first, second = self._read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self._read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._read(8))
        return first & 0x0F, self._read(length)

    def connect(self, timeout: float, payload: object = None) -> tuple[str, JSONObject]:
        """Send CONNECT; return name and arguments of the answer, CONNECTED or ERROR.

        Raises:
            NoAnswer: The connection is lost, or nothing came in time.
            ValueError: What came is not of the process.

        """
        args = {"cookie_string": "", "payload": json.dumps(payload), "ack": True}
        self.send(frame(1, "CONNECT", args))
        while True:
            opcode, data = self.receive(timeout)
            if opcode == _TEXT:
                for name, answer in frames(data.decode()):
                    if name in ("CONNECTED", "ERROR"):  # not SET_COOKIE
                        return name, answer

    def close(self) -> None:
        """Close it without waiting for the answer."""
        with closing(self._socket):
            try:
                self._socket.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
            except OSError:
                return

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                more = self._socket.recv(4096)
            except OSError as problem:
                raise NoAnswer(explain(problem)) from problem
            if not more:
                raise NoAnswer("the connection was closed")
            self._buffer += more
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found


def _head(sock: socket.socket) -> tuple[Answer, bytes]:
    """Read status line and headers; return them with the bytes that follow."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(4096)
        if not more or len(data) > MOST:
            raise HTTPException("the connection was closed")
        data += more
    head, _separator, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[1].isdigit():
        raise HTTPException(f"not HTTP: {first[:40]}")
    headers = {
        name.strip().lower(): value.strip()
        for name, _colon, value in (line.partition(":") for line in lines)
    }
    return Answer(int(words[1]), headers, ""), rest


def _body(sock: socket.socket, headers: Mapping[str, str], known: int) -> bytes:
    """Return the rest of a body, or the part that arrives in time."""
    length = headers.get("content-length", "")
    left = min(int(length) if length.isdigit() else 0, MOST) - known
    data = b""
    while len(data) < left:
        try:
            more = sock.recv(4096)
        except OSError:
            break
        if not more:
            break
        data += more
    return data


def frame(number: int, name: str, args: Mapping[str, object]) -> str:
    """Return a frame as the browser client sends it."""
    return json.dumps([number, name, args]) + "\r\n"


def frames(text: str) -> list[tuple[str, JSONObject]]:
    """Return the frames in a text, as name and arguments."""
    found = []
    for line in text.split("\r\n"):
        if line:
            _id, name, args = json.loads(line)
            found.append((name, args))
    return found
