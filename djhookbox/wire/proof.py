"""Authenticate a REST call before its body is read: the secret in a header.

Hookbox 0.3.3 looks for the secret in the form only, so calls also include it there. A header is
ASCII, so the secret is percent-encoded.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

#: The name of the header.
SECRET_HEADER = "X-Hookbox-Secret"  # noqa: S105 - a name


def to_header(secret: str) -> str:
    """Return the header value for a secret."""
    return quote(secret, safe="")


def from_header(value: str) -> str:
    """Return the secret in a header; a value that is not UTF-8 matches no secret."""
    return unquote(value, errors="replace")
