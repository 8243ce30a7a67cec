"""Helpers for your site's own tests.

    from djhookbox.testing import HookboxTestMixin

    class CommentTests(HookboxTestMixin, TestCase):
        def test_readers_are_told(self):
            with self.assertPublished("/articles/1/", {"text": "Hello"}):
                self.client.post("/articles/1/comments/", {"text": "Hello"})

        def test_members_read_along(self):
            alice = self.hookbox.connect(self.alice)
            alice.subscribe("/rooms/7/")
            djhookbox.publish("/rooms/7/", {"text": "Hello"})
            self.assertEqual(alice.received("/rooms/7/"), [{"text": "Hello"}])

In test runs of Django or pytest-django, nothing reaches a Hookbox process, just as no e-mail is
sent: `publish()` and `disconnect()` return 0, and functions that need a process raise
`HookboxNotRunning`. A test that needs a process uses `real_process()`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .assertions import HookboxTestMixin, assertNotPublished, assertPublished
    from .capturing import CapturedPublication, capture_publications
    from .clients import ClientRefused, HookboxClient, Received, Snapshot
    from .inprocess import InProcessHookbox, in_process
    from .isolating import real_process
    from .policies import override_policies

#: The module of each name. They are imported when they are used: Django's apps may not be loaded.
_HOMES = {
    "CapturedPublication": "capturing",
    "ClientRefused": "clients",
    "HookboxClient": "clients",
    "HookboxTestMixin": "assertions",
    "InProcessHookbox": "inprocess",
    "Received": "clients",
    "Snapshot": "clients",
    "assertNotPublished": "assertions",
    "assertPublished": "assertions",
    "capture_publications": "capturing",
    "in_process": "inprocess",
    "override_policies": "policies",
    "real_process": "isolating",
}

__all__ = [
    "CapturedPublication",
    "ClientRefused",
    "HookboxClient",
    "HookboxTestMixin",
    "InProcessHookbox",
    "Received",
    "Snapshot",
    "assertNotPublished",
    "assertPublished",
    "capture_publications",
    "in_process",
    "override_policies",
    "real_process",
]


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
