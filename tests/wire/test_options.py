"""What both processes know of the options of channels."""

from __future__ import annotations

import itertools

import pytest

from djhookbox import options as replies
from djhookbox.server.core import options as core
from djhookbox.wire import options

OPERATIONS = ("subscribe", "unsubscribe", "publish")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_site_knows_what_the_server_will_ask(operation: str) -> None:
    names = ("moderated", *(f"moderated_{each}" for each in OPERATIONS))
    for values in itertools.product((None, True, False), repeat=len(names)):
        given = {name: v for name, v in zip(names, values, strict=True) if v is not None}
        expected = core.ChannelOptions(**given).asks(operation)
        assert options.asks(given, operation) is expected, given


def test_both_processes_know_the_same_options() -> None:
    assert set(replies.CHANNEL) == set(core._CHANNEL_TYPES)
    assert set(replies.CHANNEL) >= options.LATER | options.LIVE
