"""The bodies of webhooks: a form as Hookbox 0.3.3 sends it, or the same fields as JSON.

Django refuses forms of more than `DATA_UPLOAD_MAX_MEMORY_SIZE` bytes, which a site may set to
any size, and percent-encoding makes JSON in a form up to three times as long. Large bodies are
therefore sent as a JSON object of strings, which the views read themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from .values import dumps, loads

FORM_TYPE = "application/x-www-form-urlencoded"
JSON_TYPE = "application/json"

#: Maximum size of a body that is sent as a form, in bytes.
LARGEST_FORM = 2048


def largest_body(max_frame_size: int) -> int:
    """Return the maximum number of bytes of JSON that a site reads.

    A character of two bytes in a frame becomes `\\u00e9` and another backslash, which is seven
    bytes. The content of a frame therefore always fits, with room for a batch of other things.
    """
    return 4 * max_frame_size + 1_048_576


def as_form(fields: Mapping[str, str]) -> bytes:
    """Return the fields as a form; a lone surrogate becomes "?"."""
    return urlencode(fields, errors="replace").encode("ascii")


def as_json(fields: Mapping[str, str]) -> bytes:
    """Return the fields as a JSON object; a lone surrogate becomes "?"."""
    return dumps(sendable(fields)).encode("ascii")


def sendable(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields in which lone surrogates, which no form can contain, have become "?"."""
    if all(map(str.isascii, fields.values())):
        return dict(fields)
    return {name: sendable_text(text) for name, text in fields.items()}


def sendable_text(text: str) -> str:
    """Return a text in which lone surrogates have become "?"."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def json_size(text: str) -> int:
    """Return the number of bytes `as_json` uses for ASCII text without control characters."""
    return len(text) + text.count('"') + text.count("\\")


def from_json(body: bytes) -> dict[str, str]:
    """Return the fields of a JSON body.

    Raises:
        ValueError: If it is not a JSON object of strings.

    """
    fields = loads(body)
    if not isinstance(fields, dict) or not all(isinstance(text, str) for text in fields.values()):
        raise ValueError("not an object of strings")
    return fields
