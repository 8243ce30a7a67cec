"""Assertions about what is published, and a mixin for test cases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from .capturing import CapturedPublication, capture_publications

if TYPE_CHECKING:
    from unittest import TestCase

    from .inprocess import InProcessHookbox

    _Base = TestCase
else:
    _Base = object


@contextmanager
def assertPublished(
    channel: str,
    payload: object = mock.ANY,
    *,
    user: object = mock.ANY,
    count: int | None = None,
    open_channels: bool = True,
) -> Iterator[list[CapturedPublication]]:
    """Fail unless the block publishes such a message; nothing is sent.

    Args:
        channel: The channel's name.
        payload: The message, as subscribers would receive it; by default, any.
        user: The name that subscribers would see; by default, any.
        count: How many such messages there must be; by default, at least one.
        open_channels: As for `capture_publications`.

    Raises:
        AssertionError: It does not; the text lists what was published instead.

    """
    with capture_publications(open_channels=open_channels) as sent:
        yield sent
    found = _matching(sent, channel, payload, user)
    if (count is None and found) or (count is not None and len(found) == count):
        return
    wanted = "a message" if count is None else f"{count} messages"
    if payload is not mock.ANY:
        wanted += f" {_shown(payload)}"
    if user is not mock.ANY:
        wanted += f" from {user!r}"
    got = f"{len(found)} of them were published" if found else "it was not published"
    raise AssertionError(f"Expected {wanted} on {channel}, but {got}.\n{_listed(sent)}")


@contextmanager
def assertNotPublished(
    channel: str | None = None,
    payload: object = mock.ANY,
    *,
    user: object = mock.ANY,
    open_channels: bool = True,
) -> Iterator[list[CapturedPublication]]:
    """Fail if the block publishes such a message, or anything at all; nothing is sent.

    Args:
        channel: The channel's name; None means any.
        payload: The message; by default, any.
        user: The name that subscribers would see; by default, any.
        open_channels: As for `capture_publications`.

    Raises:
        AssertionError: It does.

    """
    with capture_publications(open_channels=open_channels) as sent:
        yield sent
    if found := _matching(sent, channel, payload, user):
        raise AssertionError(f"This was published:\n{_listed(found)}")


def _matching(
    sent: Sequence[CapturedPublication], channel: str | None, payload: object, user: object
) -> list[CapturedPublication]:
    return [
        each
        for each in sent
        if channel in (None, each.channel) and payload == each.payload and user == each.user
    ]


def _shown(payload: object) -> str:
    try:
        text = json.dumps(payload, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(payload)
    return text if len(text) <= 200 else text[:199] + "…"


def _listed(sent: Sequence[CapturedPublication]) -> str:
    if not sent:
        return "Nothing was published."
    lines = [
        f"  {each.channel}  {_shown(each.payload)}" + (f"  from {each.user!r}" if each.user else "")
        for each in sent
    ]
    return "\n".join(["Published:", *lines])


class HookboxTestMixin(_Base):
    """Adds `self.hookbox`, a server without sockets, and assertions to a test case.

    Put it before `TestCase` in the bases of your class.
    """

    _hookbox: InProcessHookbox | None = None

    @property
    def hookbox(self) -> InProcessHookbox:
        """The server of this test, started when it is first used."""
        from .inprocess import in_process

        if self._hookbox is None:
            self._hookbox = (
                self.enterContext(in_process())
                if hasattr(self, "enterContext")
                else (self._entered(in_process()))
            )
        return self._hookbox

    def _entered(self, context: AbstractContextManager[InProcessHookbox]) -> InProcessHookbox:
        entered = context.__enter__()  # Python 3.10 has no enterContext()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    def assertPublished(
        self,
        channel: str,
        payload: object = mock.ANY,
        *,
        user: object = mock.ANY,
        count: int | None = None,
        open_channels: bool = True,
    ) -> AbstractContextManager[list[CapturedPublication]]:
        """Do as the function of this name."""
        return assertPublished(
            channel, payload, user=user, count=count, open_channels=open_channels
        )

    def assertNotPublished(
        self,
        channel: str | None = None,
        payload: object = mock.ANY,
        *,
        user: object = mock.ANY,
        open_channels: bool = True,
    ) -> AbstractContextManager[list[CapturedPublication]]:
        """Do as the function of this name."""
        return assertNotPublished(channel, payload, user=user, open_channels=open_channels)
