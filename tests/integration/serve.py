"""A WSGI server as small as they come: `python -m tests.integration.serve PORT WORKERS`."""

from __future__ import annotations

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.wsgi import get_wsgi_application


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """Serves each request in a thread of its own."""

    daemon_threads = True
    request_queue_size = 256


class Handler(WSGIRequestHandler):
    """Prints the paths of webhooks, and does not pass for runserver."""

    server_version = "tests"

    def log_request(self, code: object = "-", size: object = "-") -> None:
        if self.path.startswith("/hookbox/"):
            print(f"Webhook {self.path}", flush=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return str(self.client_address[0])


def main(port: int, workers: str) -> None:
    """Serve until killed."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integration.settings"
    server = WSGIServer if workers == "single" else ThreadedServer
    with make_server("127.0.0.1", port, get_wsgi_application(), server, Handler) as site:
        site.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
