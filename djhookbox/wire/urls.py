"""Parts of URLs."""

from __future__ import annotations


def bracketed(host: str) -> str:
    """Return a host as written in URLs: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
