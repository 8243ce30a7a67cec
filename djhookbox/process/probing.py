"""Send a test webhook as the Hookbox process would, to check whether it arrives."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlencode, urlsplit

from .. import certificates, isolation
from ..conf import settings
from ..exceptions import HookboxMisconfigured, HookboxUnreachable
from ..wire.urls import is_unix, port_of, split_unix


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """The answer to a test webhook."""

    status: int
    location: str
    body: str


class _UnixConnection(HTTPConnection):
    """An HTTP connection to a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(settings.unix_host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def post_webhook(
    url: str, form: Mapping[str, str], headers: Mapping[str, str], timeout: float
) -> WebhookAnswer:
    """Send a webhook as the Hookbox process would, without following redirects.

    Args:
        url: An http or https URL, or the URL of a Unix socket.
        form: Its fields.
        headers: Its headers.
        timeout: Seconds for which the network may be silent.

    Raises:
        HookboxUnreachable: There was no answer in time.
        HookboxMisconfigured: The certificate is not accepted.

    """
    if isolation.is_isolated():
        raise HookboxUnreachable(isolation.refusal(), code="unavailable")
    content = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    try:
        connection, target = _connection(url, timeout)
        with closing(connection):
            connection.request("POST", target, urlencode(form).encode(), content)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
            return WebhookAnswer(response.status, response.headers.get("Location", ""), body)
    except ssl.SSLError as error:
        raise HookboxMisconfigured(certificates.explain(url, error)) from error
    except (OSError, HTTPException) as error:
        raise HookboxUnreachable(str(error), code="unavailable") from error


def connect(url: str, timeout: float) -> None:
    """Check whether something listens at the address of a URL, and close the connection.

    Raises:
        OSError: Nothing does.

    """
    if is_unix(url):
        with closing(_UnixConnection(split_unix(url)[0], timeout)) as connection:
            connection.connect()
        return
    parts = urlsplit(url)
    port = port_of(parts)
    socket.create_connection((parts.hostname or "", port), timeout).close()


def _connection(url: str, timeout: float) -> tuple[HTTPConnection, str]:
    """Return a connection that is not open yet, and the path to request."""
    if is_unix(url):
        path, target = split_unix(url)
        return _UnixConnection(path, timeout), target
    parts = urlsplit(url)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    host = (parts.hostname or "").encode("idna").decode()
    if parts.scheme == "https":
        return HTTPSConnection(host, parts.port, timeout=timeout, context=_context()), target
    return HTTPConnection(host, parts.port, timeout=timeout), target


def _context() -> ssl.SSLContext:
    path = certificates.ca_path()
    if path is not None and os.path.isdir(path):
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)
