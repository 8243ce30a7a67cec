"""Fixtures for pytest, available wherever django-hookbox and pytest-django are installed.

Nothing of Django is imported before a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import CapturedPublication, InProcessHookbox


@pytest.fixture
def hookbox(db: None) -> Iterator[InProcessHookbox]:
    """A server without sockets: `hookbox.connect(user)` connects to it."""
    from .testing import in_process

    with in_process() as server:
        yield server


@pytest.fixture
def hookbox_publications() -> Iterator[list[CapturedPublication]]:
    """What is published in the test; nothing is sent."""
    from .testing import capture_publications

    with capture_publications() as sent:
        yield sent


@pytest.fixture
def hookbox_policies() -> Iterator[Callable[..., None]]:
    """A function that replaces the policies until the test ends; see `override_policies`."""
    from .testing import override_policies

    with ExitStack() as stack:

        def use(*policies: object, keep: bool = False) -> None:
            stack.enter_context(override_policies(*policies, keep=keep))  # type: ignore[arg-type]

        yield use
