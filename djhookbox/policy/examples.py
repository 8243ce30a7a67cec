"""Example names that a pattern matches, to help its author."""

from __future__ import annotations

from typing import Any

from django.urls import converters

from .patterns import USERNAME, Pattern

#: The maximum length of a channel name.
_LONGEST = 255

_SAMPLES: dict[type[object], tuple[str, ...]] = {
    converters.StringConverter: ("lobby", "Zoë & I", "room 7"),
    converters.SlugConverter: ("today", "some-topic", "A_1"),
    converters.IntConverter: ("1", "42", "2026"),
    converters.UUIDConverter: (
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "00000000-0000-4000-8000-000000000000",
    ),
    converters.PathConverter: ("a", "a/b.txt", "2026/11/é"),
}
_NAMES = ("alice", "bob", "zoë@example.com")


def examples(pattern: Pattern) -> list[str]:
    """Return up to three names that a pattern matches, or none if they cannot be guessed."""
    values = iter([part for part in pattern.parts if not isinstance(part, str)])
    samples = {
        name: _NAMES if name == USERNAME and type(part) is converters.StringConverter
        else _samples(part)
        for name, part in zip(pattern.parameters, values, strict=True)
    }  # fmt: skip
    if not all(samples.values()):
        return []
    names = []
    for turn in range(3):
        chosen = iter([some[turn % len(some)] for some in samples.values()])
        name = "".join(part if isinstance(part, str) else next(chosen) for part in pattern.parts)
        if name not in names and len(name) <= _LONGEST and pattern.match(name) is not None:
            names.append(name)
    return names


def _samples(converter: object) -> tuple[str, ...]:
    known = _SAMPLES.get(type(converter))
    if known is not None:
        return known
    # The project's own converter: samples of others may fit, which `examples` checks.
    everything = [sample for some in _SAMPLES.values() for sample in some]
    return tuple(sample for sample in everything if _takes(converter, sample))


def _takes(converter: Any, sample: str) -> bool:
    try:
        return bool(converter.to_url(converter.to_python(sample)) == sample)
    except Exception:  # converters may raise anything for a text that their pattern would not match
        return False
