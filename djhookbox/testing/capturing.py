"""Collect what a site publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from .. import client, publishing, vouching
from ..decisions.decide import UNDECIDED, Decision
from ..exceptions import HookboxError
from ..outbox import inserting
from ..outbox.rows import Draft
from ..users.accounts import User
from ..wire.answers import Outcome, Published
from ..wire.rest import Publishing
from ..wire.values import JSON

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
    payload: JSON
    user: str
    options: Mapping[str, object]


@contextmanager
def capture_publications(
    *, delivered: int = 1, error: HookboxError | None = None, open_channels: bool = True
) -> Iterator[list[CapturedPublication]]:
    """Collect what `publish()` and similar functions send; no Hookbox process is needed.

    Everything else is real: the payload must be JSON, handlers are asked, and the publish history
    is written. `cursor()` returns empty cursors.

    Messages to durable channels are stored as rows that wait, also within the transaction of a
    `TestCase`. They are collected when they are stored; what was rolled back is removed from the
    list when the block ends.

    Args:
        delivered: How many connections each message is reported to reach, except on durable
            channels.
        error: Raised for each message, to test what your site does without the process:
            `capture_publications(error=HookboxUnreachable("down"))`.
        open_channels: Whether channels are open that no policy or handler decides about. The
            policies of your site are rows of its database, which a test database lacks. With
            False, such a channel is refused, as it would be on the site.

    """
    captured: list[CapturedPublication] = []
    stored: list[tuple[CapturedPublication, inserting.Stored]] = []
    decide, store = vouching.decided, inserting.insert

    def publish(
        channel: str,
        payload: str,
        *,
        options: Mapping[str, object] | None = None,
        originator: str | None = None,
        **others: object,
    ) -> Published:
        captured.append(
            CapturedPublication(channel, json.loads(payload), originator or "", options or {})
        )
        if error is not None:
            raise error
        return Published(delivered)

    def publish_many(publications: Sequence[Publishing], **others: object) -> tuple[Outcome, ...]:
        return tuple(
            Outcome(publish(
                each.channel_name, each.payload, options=each.options, originator=each.originator
            ).delivered)
            for each in publications
        )  # fmt: skip

    def insert(draft: Draft, *, using: str | None = None, pokes: bool = True) -> inserting.Stored:
        where = store(draft, using=using, pokes=pokes)  # in the transaction of the test
        options = (draft.opened or draft.decision).options
        captured.append(
            CapturedPublication(draft.channel, json.loads(draft.text), draft.user, options)
        )
        stored.append((captured[-1], where))
        return where

    def insert_many(drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            insert(draft)

    def cursor(channel: str, *, options: Mapping[str, object]) -> str:
        return ""

    def opened(channel: str, user: User) -> Decision:
        decision = decide(channel, user)
        if decision.allowed or decision.decided_by != UNDECIDED:
            return decision
        return Decision(True, decided_by=DECIDED_BY)

    # Patched for all threads: a live server in a test has its own.
    with (
        mock.patch.object(client, "publish", publish),
        mock.patch.object(client, "publish_many", publish_many),
        mock.patch.object(client, "cursor", cursor),
        mock.patch.object(publishing, "decided", opened if open_channels else decide),
        mock.patch.object(inserting, "insert", insert),
        mock.patch.object(inserting, "insert_many", insert_many),
        mock.patch.object(inserting, "poke", return_value=None),
    ):
        yield captured
        for publication, where in stored:
            if not where.still_waits():
                captured[:] = [each for each in captured if each is not publication]
