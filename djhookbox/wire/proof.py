"""How a REST call proves itself before its body is read: the secret in a header.

Hookbox 0.3.3 looks for it in the form only, so calls carry it there as well. A header is ASCII, so
it is percent-encoded.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

#: The header's name.
SECRET_HEADER = "X-Hookbox-Secret"  # noqa: S105 - a name


def to_header(secret: str) -> str:
    """Return what the header says of a secret."""
    return quote(secret, safe="")


def from_header(value: str) -> str:
    """Return the secret that a header holds; what is not UTF-8 fits none."""
    return unquote(value, errors="replace")
