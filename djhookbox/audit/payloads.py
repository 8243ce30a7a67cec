"""What the publish history stores of a message: all of it, with fields masked, or nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Set
from typing import Any, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder

from ..conf import settings
from ..models import Publication

#: Replaces masked values.
MASK = "***"

#: What PostgreSQL cannot store in JSON: NUL and lone surrogates.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: The same in JSON text, where a preceding backslash does not matter here.
_MAYBE_UNSTORABLE = re.compile("\\\\u0000|[\ud800-\udfff]")

_encode = DjangoJSONEncoder(ensure_ascii=False).encode


def kept(payload: object, *, is_copy: bool = False) -> dict[str, object]:
    """Return the fields of a `Publication` derived from its payload and the settings.

    Args:
        payload: The payload.
        is_copy: Whether it is plain JSON that nobody else uses, so that it may be changed.

    """
    return kept_and_text(payload, rules(), is_copy=is_copy)[0]


class Rules(NamedTuple):
    """What the settings say about payloads, read once for many of them."""

    store: bool
    names: Set[str]


def rules() -> Rules:
    """Return what the settings say now."""
    return Rules(settings.store_payloads, settings.redact)


def kept_and_text(
    payload: object, rules: Rules, *, is_copy: bool
) -> tuple[dict[str, object], str | None]:
    """Return what `kept` returns, and the stored payload as JSON text, if there is one."""
    text = compact(payload)
    fields: dict[str, object] = {"size": len(text.encode("utf-8", "surrogatepass"))}
    if not rules.store:
        return fields | {"payload": None, "preview": "", "kept": Publication.Kept.NOTHING}, None
    names = rules.names
    unstorable = _MAYBE_UNSTORABLE.search(text) is not None
    kind = Publication.Kept.WHOLE
    if names or unstorable:
        if not is_copy:
            # From the text: it is plain JSON without dates, and the caller's object stays as it is.
            payload = json.loads(text)
        if unstorable:
            payload = _cleaned(payload)
        if _mask(payload, names):
            kind = Publication.Kept.MASKED
        if unstorable or kind is Publication.Kept.MASKED:
            text = compact(payload)
    stored = None if payload is None else text  # which is NULL
    return fields | {"payload": payload, "preview": beginning(text), "kept": kind}, stored


def left_out(size: int) -> dict[str, object]:
    """Return the same fields for a payload of which only the size is known."""
    return {"size": size, "payload": None, "preview": "", "kept": Publication.Kept.NOTHING}


def masked(payload: object) -> object:
    """Return a copy of a JSON value with sensitive fields masked."""
    copy = json.loads(compact(payload))
    _mask(copy, settings.redact)
    return copy


def compact(payload: object) -> str:
    """Format a payload as JSON in one line."""
    return _encode(payload)


def beginning(text: str) -> str:
    """Return the beginning of a payload's JSON, as lists show it."""
    limit = Publication.PREVIEW_LENGTH
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _mask(payload: object, names: Set[str]) -> bool:
    """Mask fields of these names at any depth, in place; return whether there were any."""
    found = False
    # Iterative: JSON may be nested more deeply than Python's recursion limit.
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
    """Return the value without characters that some databases reject."""
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
