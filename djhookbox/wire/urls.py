"""URLs: of servers on the web and on Unix sockets, and their parts."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

#: The schemes of servers that answer HTTP on a host and a port.
WEB_SCHEMES = ("http", "https")

#: The scheme of a server on a Unix socket, as in `http+unix:///run/a.sock:/path`.
UNIX_SCHEME = "http+unix"

#: Maximum length of a socket's path in bytes, as limited by the kernel.
_LONGEST_SOCKET = 107


def is_unix(url: str) -> bool:
    """Return whether a URL names a Unix socket."""
    return url.startswith(f"{UNIX_SCHEME}:")


def split_unix(url: str) -> tuple[str, str]:
    """Return the socket's path and the request path of a Unix socket's URL.

    Raises:
        ValueError: It is not such a URL; the text says why.

    """
    socket, _colon, path = url.removeprefix(f"{UNIX_SCHEME}://").partition(":")
    if not is_unix(url) or not socket.startswith("/") or (path and not path.startswith("/")):
        raise ValueError(
            f"must have the form {UNIX_SCHEME}://SOCKET:PATH, such as "
            f"'{UNIX_SCHEME}:///run/site.sock:/hookbox'"
        )
    if len(socket.encode()) > _LONGEST_SOCKET:
        raise ValueError(f"names a socket whose path is longer than {_LONGEST_SOCKET} bytes")
    return socket, path.rstrip("/")


def is_absolute(url: str, schemes: Collection[str] = WEB_SCHEMES) -> bool:
    """Return whether a URL has one of the schemes, a host, and a valid port if it has one."""
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_printable(text: str) -> bool:
    """Return whether a URL or a host has no spaces, control characters or lone surrogates."""
    return text.isprintable() and " " not in text


def port_of(parts: SplitResult) -> int:
    """Return the port of a web URL: the one in it, or that of its scheme."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def origin_of(url: str) -> str:
    """Return the origin of a page's URL, or "" if it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


def without_password(url: str) -> str:
    """Return a web URL for display: without the user name and the password that it may contain."""
    if "@" not in url or is_unix(url):
        return url
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def bracketed(host: str) -> str:
    """Return a host as written in URLs: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
