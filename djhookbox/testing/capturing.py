"""Collect what a site publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from .. import client, publishing, vouching
from ..decisions.decide import UNDECIDED, Decision
from ..exceptions import HookboxError

#: What the publish history says about a channel that only a test has opened.
DECIDED_BY = "test:capture_publications"


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
    *, delivered: int = 1, error: HookboxError | None = None, open_channels: bool = True
) -> Iterator[list[CapturedPublication]]:
    """Collect what `publish()` and `apublish()` send, so that no Hookbox process is needed.

    Everything else is real: the payload must be JSON, handlers are asked, and the publish history
    is written. `cursor()` returns empty cursors.

    Args:
        delivered: How many connections each message is reported to reach.
        error: Raised for each message, to test what your site does without the process:
            `capture_publications(error=HookboxUnreachable("down"))`.
        open_channels: Whether channels are open that no policy or handler decides about. The
            policies of your site are rows of its database, which a test database lacks. With
            False, such a channel is refused, as it would be on the site.

    """
    captured: list[CapturedPublication] = []
    decide, insert = vouching.decided, publishing._insert

    def publish(
        channel: str,
        payload: str,
        *,
        options: Mapping[str, object] | None = None,
        originator: str | None = None,
        recorded: bool = False,
        **others: object,
    ) -> int | None:
        captured.append(
            CapturedPublication(channel, json.loads(payload), originator or "", options or {})
        )
        if error is not None:
            raise error
        return delivered

    def inserted(message: Any, decision: Decision, using: str | None) -> None:
        insert(message, decision, using)  # to a durable channel: in the transaction of the test
        payload = json.loads(message.text)
        captured.append(
            CapturedPublication(message.channel, payload, message.originator, decision.options)
        )
        if error is not None:
            raise error

    def cursor(channel: str, *, options: Mapping[str, object]) -> str:
        return ""

    def opened(channel: str, user: Any) -> Decision:
        decision = decide(channel, user)
        if decision.allowed or decision.decided_by != UNDECIDED:
            return decision
        return Decision(True, decided_by=DECIDED_BY)

    # Patched for all threads: a live server in a test has its own.
    with (
        mock.patch.object(client, "publish", publish),
        mock.patch.object(client, "cursor", cursor),
        mock.patch.object(publishing, "decided", opened if open_channels else decide),
        mock.patch.object(publishing, "_insert", inserted),
    ):
        yield captured
