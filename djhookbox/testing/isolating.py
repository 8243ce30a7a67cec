"""Tests that start a Hookbox process of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .. import isolation


@contextmanager
def real_process() -> Iterator[None]:
    """Let a test call the Hookbox process in its settings, which it must have started itself.

    A context manager and a decorator for functions and methods; in `setUpClass()`, use
    `cls.enterClassContext(real_process())`. Set HOOKBOX_REST_URL or HOOKBOX_PORT to a process that
    only the tests use. Applies to all threads, such as that of a live server.
    """
    with isolation.lifted():
        yield
