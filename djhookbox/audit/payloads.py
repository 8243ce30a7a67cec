"""What the publish history keeps of a message: all of it, with fields masked, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from ..conf import settings
from ..models import Publication

#: Stands in for what is masked.
MASK = "***"

#: What PostgreSQL cannot keep in JSON: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: How these look in JSON text, where a backslash before the first makes no difference to us.
_MAYBE_UNSTORABLE = re.compile("\\\\u0000|[\ud800-\udfff]")

_encode = DjangoJSONEncoder(ensure_ascii=False).encode


def kept(payload: object) -> dict[str, Any]:
    """Return the fields of a `Publication` that follow from its payload and the settings."""
    text = compact(payload)
    fields: dict[str, Any] = {"size": len(text.encode("utf-8", "surrogatepass"))}
    if not settings.store_payloads:
        return fields | {"payload": None, "preview": "", "kept": Publication.Kept.NOTHING}
    names = settings.redact
    unstorable = _MAYBE_UNSTORABLE.search(text) is not None
    kind = Publication.Kept.WHOLE
    if names or unstorable:
        # From the text, as it is JSON without dates and the like, and nobody else's object.
        payload = json.loads(text)
        if unstorable:
            payload = _cleaned(payload)
        if _mask(payload, names):
            kind = Publication.Kept.MASKED
        text = compact(payload)
    return fields | {"payload": payload, "preview": beginning(text), "kept": kind}


def left_out(size: int) -> dict[str, Any]:
    """Return the same fields for a payload of which only the size is known."""
    return {"size": size, "payload": None, "preview": "", "kept": Publication.Kept.NOTHING}


def masked(payload: object) -> object:
    """Return a copy of a JSON value with the fields masked that nobody is to see."""
    copy = json.loads(compact(payload))
    _mask(copy, settings.redact)
    return copy


def compact(payload: object) -> str:
    """Write a payload as JSON in one line."""
    return _encode(payload)


def beginning(text: str) -> str:
    """Return so much of a payload's JSON as lists show."""
    limit = Publication.PREVIEW_LENGTH
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _mask(payload: object, names: Set[str]) -> bool:
    """Mask fields of these names at any depth, in place; tell whether there were any."""
    found = False
    # No recursion: JSON may be nested more deeply than Python functions may call each other.
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key.casefold() in names:
                    value[key] = MASK
                    found = True
                else:
                    waiting.append(item)
    return found


def _cleaned(payload: object) -> object:
    """Return the value without the characters that some databases refuse in it."""
    top = [payload]
    waiting: list[Any] = [top]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            value[:] = [_UNSTORABLE.sub("�", v) if isinstance(v, str) else v for v in value]
            waiting.extend(value)
        elif isinstance(value, dict):
            items = list(value.items())
            value.clear()
            for key, item in items:
                text = _UNSTORABLE.sub("�", item) if isinstance(item, str) else item
                value[_UNSTORABLE.sub("�", key)] = text
            waiting.extend(value.values())
    return top[0]
