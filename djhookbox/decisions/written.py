"""Write objects as Django's serializer does, in a fraction of its time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring  # in C if possible


def entry(model: str, fields: Mapping[str, object]) -> str:
    """Return one object of a file: two spaces per level, and characters as they are."""
    lines = ",\n".join(f'    "{name}": {_value(value)}' for name, value in fields.items())
    return f'{{\n  "model": "{model}",\n  "fields": {{\n{lines}\n  }}\n}}'


def _value(value: object) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return "{}" if value == {} else "[]" if value == [] else _nested(json.dumps(value))


@lru_cache(maxsize=256)  # most policies have the same options
def _nested(compact: str) -> str:
    text = json.dumps(json.loads(compact), indent=2, ensure_ascii=False)
    return text.replace("\n", "\n    ")
