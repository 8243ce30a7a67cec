"""Write objects as Django's serializer does, in a fraction of its time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring  # in C if possible

_SIMPLE = frozenset({str, bool, int})


def entry(model: str, fields: Mapping[str, object]) -> str:
    """Return one object of a file: two spaces per level, and characters as they are."""
    lines = ",\n".join(
        _simple(name, value) if type(value) in _SIMPLE else f'    "{name}": {_value(value)}'
        for name, value in fields.items()
    )
    return f'{{\n  "model": "{model}",\n  "fields": {{\n{lines}\n  }}\n}}'


@lru_cache(maxsize=256, typed=True)  # most policies differ in a few fields
def _simple(name: str, value: str | int) -> str:
    text = encode_basestring(value) if isinstance(value, str) else json.dumps(value)
    return f'    "{name}": {text}'


def _value(value: object) -> str:
    return "{}" if value == {} else "[]" if value == [] else _nested(json.dumps(value))


@lru_cache(maxsize=256)  # most policies have the same options
def _nested(compact: str) -> str:
    text = json.dumps(json.loads(compact), indent=2, ensure_ascii=False)
    return text.replace("\n", "\n    ")
