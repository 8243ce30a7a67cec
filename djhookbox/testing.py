"""Helpers for the tests of your own site.

from djhookbox.testing import capture_publications

class CommentTests(TestCase):
    def test_readers_are_told(self):
        with capture_publications() as sent:
            self.client.post("/articles/1/comments/", {"text": "Hello"})
        self.assertEqual(sent[0].channel, "/articles/1/")
        self.assertEqual(sent[0].payload, {"text": "Hello"})

Nothing reaches a Hookbox process in a test run of Django or pytest-django, as no e-mail is sent:
`publish()` returns 0, `disconnect()` too, and functions that ask what only a process knows raise
`HookboxNotRunning`. A test that needs a process says so with `real_process()`.
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
        payload: The message as subscribers would get it: dates are strings, for instance.
        user: The name that subscribers would see, "" if nobody's.
        options: The options that the channel would be made with.

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

    All the rest is done for real: the payload must be JSON, a policy or a handler must vouch for
    the channel, and the publish history gets its row. `cursor()` returns empty cursors.

    Args:
        delivered: How many connections each message pretends to reach.
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
    """Let a test call the Hookbox process of its settings, which it must have started itself.

    A context manager, and a decorator of functions and methods; in `setUpClass()` use
    `cls.enterClassContext(real_process())`. Let HOOKBOX_REST_URL or HOOKBOX_PORT lead to a process
    that only the tests use. It holds for all threads, such as that of a live server.
    """
    with isolation.lifted():
        yield


__all__ = ["CapturedPublication", "capture_publications", "real_process"]
