"""The system check of the engine."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning

from ..process import engines
from .registering import site_check


@site_check
def check_engine() -> Iterator[CheckMessage]:
    """W031, W035: the Redis that HOOKBOX_ENGINE names cannot be used, or may lose keys."""
    unusable, careless = engines.problems()
    if unusable:
        yield Warning(
            unusable,
            hint="Start it, or correct HOOKBOX_ENGINE. The Hookbox process needs it to start.",
            id="djhookbox.W031",
        )
    if careless:
        yield Warning(
            careless,
            hint="Subscribers would miss messages. If other programs use this Redis as a cache, "
            "run another one for the Hookbox processes.",
            id="djhookbox.W035",
        )
