"""Helpers for your site's own tests.

from djhookbox.testing import capture_publications

class CommentTests(TestCase):
    def test_readers_are_told(self):
        with capture_publications() as sent:
            self.client.post("/articles/1/comments/", {"text": "Hello"})
        self.assertEqual(sent[0].channel, "/articles/1/")
        self.assertEqual(sent[0].payload, {"text": "Hello"})

In test runs of Django or pytest-django, nothing reaches a Hookbox process, just as no e-mail is
sent: `publish()` and `disconnect()` return 0, and functions that need a process raise
`HookboxNotRunning`. A test that needs a process uses `real_process()`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from . import client, isolation
from .exceptions import HookboxError


@dataclass(frozen=True, slots=True)
class CapturedPublication:
    """A message that would have been sent.

    Attributes:
        channel: The channel's name.
        payload: The message as subscribers would receive it; dates are strings, for instance.
        user: The name that subscribers would see, or "".
        options: The options the channel would be created with.

    """

    channel: str
    payload: Any
    user: str
    options: Mapping[str, object]


@contextmanager
def capture_publications(
    *, delivered: int = 1, error: HookboxError | None = None
) -> Iterator[list[CapturedPublication]]:
    """Collect what `publish()` and `apublish()` send, so that no Hookbox process is needed.

    Everything else is real: the payload must be JSON, a policy or a handler must open the channel,
    and the publish history is written. `cursor()` returns empty cursors.

    Args:
        delivered: How many connections each message is reported to reach.
        error: Raised for each message, to test what your site does without the process:
            `capture_publications(error=HookboxUnreachable("down"))`.

    """
    captured: list[CapturedPublication] = []

    def publish(
        channel: str,
        payload: str,
        *,
        options: Mapping[str, object] | None = None,
        originator: str | None = None,
        recorded: bool = False,
    ) -> int | None:
        captured.append(
            CapturedPublication(channel, json.loads(payload), originator or "", options or {})
        )
        if error is not None:
            raise error
        return delivered

    def cursor(channel: str, *, options: Mapping[str, object]) -> str:
        return ""

    # Patched for all threads: a live server in a test has its own.
    with (
        mock.patch.object(client, "publish", publish),
        mock.patch.object(client, "cursor", cursor),
    ):
        yield captured


@contextmanager
def real_process() -> Iterator[None]:
    """Let a test call the Hookbox process in its settings, which it must have started itself.

    A context manager and a decorator for functions and methods; in `setUpClass()`, use
    `cls.enterClassContext(real_process())`. Set HOOKBOX_REST_URL or HOOKBOX_PORT to a process that
    only the tests use. Applies to all threads, such as that of a live server.
    """
    with isolation.lifted():
        yield


__all__ = ["CapturedPublication", "capture_publications", "real_process"]
