"""The system check of the engine."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning

from ..process import engines
from .registering import site_check


@site_check
def check_engine() -> Iterator[CheckMessage]:
    """W031: the Redis that HOOKBOX_ENGINE names cannot be used."""
    if problem := engines.problem():
        yield Warning(
            problem,
            hint="Start it, or correct HOOKBOX_ENGINE; the Hookbox process does not start without.",
            id="djhookbox.W031",
        )
