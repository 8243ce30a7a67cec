"""A Hookbox process that gives the answers that a test sets, and records the calls.

A site is asked in the same way, so that it also stands in for one. As a program, it is a process
that can be started, stopped and misbehave: `process.py PORT MANNER VERSION`.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from djhookbox.wire import values
from djhookbox.wire.answers import ServerInfo
from djhookbox.wire.records import write


@dataclass
class Request:
    """One request, its form decoded."""

    path: str
    query: str
    form: dict[str, str]
    headers: dict[str, str]
    #: The client's port: equal for requests on one connection.
    peer: int

    @property
    def call(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass
class Answer:
    """What is sent back."""

    status: int = 200
    body: str = "[true, {}]"
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False


class FakeHookbox:
    """The server; `answer` decides what each request gets."""

    def __init__(
        self,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        answer: Callable[[Request], Answer] | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.answer = answer or (lambda request: Answer())
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                text = self.rfile.read(length).decode()
                if self.headers.get("Content-Type") == "application/json":
                    form = json.loads(text)
                else:
                    values = parse_qs(text, keep_blank_values=True, strict_parsing=True)
                    form = {name: value[0] for name, value in values.items()}
                parts = urlsplit(self.path)
                request = Request(
                    parts.path,
                    parts.query,
                    form,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.client_address[1],
                )
                fake.requests.append(request)
                answer = fake.answer(request)
                if answer.hang_up:
                    self.close_connection = True
                    return
                body = answer.body.encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def process_request(self, request: object, client_address: object) -> None:
                fake.sockets.append(request)
                super().process_request(request, client_address)

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that did not wait for the answer

        self.sockets: list = []
        self.server = Server(("127.0.0.1", port), Handler)
        self.port: int = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def replies(self, *value: object, status: int = 200) -> None:
        """Answer everything with this JSON array."""
        self.answer = lambda request: Answer(status, json.dumps(value))

    def stop(self) -> None:
        """Stop, and close every connection, as a process does that ends."""
        self.server.shutdown()
        self._thread.join(5)
        self.server.server_close()
        for sock in self.sockets:
            self.server.shutdown_request(sock)


@contextmanager
def scripted(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[FakeHookbox]:
    """Run one for other processes; this test run stays isolated."""
    fake = FakeHookbox(port, tls)
    try:
        yield fake
    finally:
        fake.stop()


@contextmanager
def fake_hookbox(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[FakeHookbox]:
    """Run one, and let Django call it."""
    from djhookbox.testing import real_process

    with scripted(port, tls) as fake, real_process():
        yield fake


def in_manner(manner: str, version: str) -> Callable[[Request], Answer]:
    """Return how a process answers that is good, or is another program or version.

    Args:
        manner: "good", "secret", "foreign", "static", "gateway" or "genuine"; others are good.
        version: What it says its version is.

    """
    info = ServerInfo(
        version=version, pid=os.getpid(), uptime=1.5, engine="memory",
        connections=3, users=2, channels=1,
    )  # fmt: skip
    bodies: dict[str, object] = {
        "secret": [False, {"msg": "Invalid secret"}],
        "foreign": "hello",
        "static": "hello",
        "gateway": "Bad gateway",
        "genuine": [False, {"msg": "Channel / doesn't exist"}],
    }
    body = values.dumps(bodies.get(manner, [True, write(info)]))

    def answer(request: Request) -> Answer:
        if manner in ("genuine", "static") and request.call == "get_server_info":
            return Answer(404, "Not Found")
        return Answer(502 if manner == "gateway" else 200, body)

    return answer


def main(port: int, manner: str, version: str) -> None:
    """Run as a process that may also "crash", or be "stubborn", "mute" or "lingering"."""
    print("stand-in", manner, flush=True)
    if manner == "crash":
        sys.exit("it cannot go on like this")
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if manner == "mute":
        time.sleep(60)
    if manner == "lingering" and os.fork() == 0:
        # What the process has inherited outlives it for a moment.
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(0.01)
        time.sleep(0.3)
        os._exit(0)
    FakeHookbox(port, answer=in_manner(manner, version))
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
