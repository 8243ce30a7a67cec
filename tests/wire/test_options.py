"""Options of channels and users: names, types, bounds, words."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from djhookbox.wire import options
from djhookbox.wire.options import (
    CHANNEL,
    INITIAL_ONLY,
    LATER,
    MAX_HISTORY,
    MAX_INTERVAL,
    MAX_SECONDS,
    ChannelOptions,
    OptionError,
    Polling,
    UserOptions,
    check_channel_options,
    user_options,
)
from djhookbox.wire.replies import ConnectReply

OPERATIONS = ("subscribe", "unsubscribe", "publish")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_site_knows_what_the_server_will_ask(operation: str) -> None:
    names = ("moderated", "durable", *(f"moderated_{each}" for each in OPERATIONS))
    for values in itertools.product((None, True, False), repeat=len(names)):
        given = {name: v for name, v in zip(names, values, strict=True) if v is not None}
        expected = ChannelOptions(**given).asks(operation)
        assert options.asks(given, operation) is expected, given


def test_names() -> None:
    assert {*ChannelOptions.__slots__, *INITIAL_ONLY} == CHANNEL
    assert LATER < CHANNEL


def test_a_connect_reply_has_the_defaults_of_users() -> None:
    assert ConnectReply("alice").user_options() == UserOptions()
    names = set(UserOptions.__slots__)
    assert names <= set(ConnectReply.__slots__)
    for name in names - {"auto_subscribe"}:
        value = not getattr(UserOptions(), name)
        assert ConnectReply("alice", **{name: value}).user_options() == UserOptions(**{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"reflective": False, "moderated": True, "anonymous": False, "presenceful": True},
        {"history_size": 0},
        {"history_size": True},  # taken as an int, as in 0.3.3
        {"history_size": MAX_HISTORY, "history_duration": MAX_SECONDS},
        {"history": [["PUBLISH", {"payload": None}]], "state": {"a": [1]}},
        {"server_user_presence": ["alice"], "server_presenceful": True},
        {"polling": {}},
    ],
)
def test_options_that_are_right(given: dict[str, Any]) -> None:
    check_channel_options(given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"colour": "red"}, "Invalid keyword argument colour"),
        ({"history_size": "5"}, "Invalid type for history_size (should be int)"),
        ({"history_size": 1.0}, "Invalid type for history_size (should be int)"),
        ({"history_size": None}, "Invalid type for history_size (should be int)"),
        ({"moderated": 0}, "Invalid type for moderated (should be bool)"),
        ({"state": []}, "Invalid type for state (should be object)"),
        ({"history": {}}, "Invalid type for history (should be list)"),
        ({"polling": ""}, "Invalid type for polling (should be object)"),
        ({"history_size": -1}, "Invalid value for history_size (should not be negative)"),
        ({"history_size": 10**400}, "Invalid value for history_size (should be at most 10000)"),
        (
            {"history_duration": 10**400},
            f"Invalid value for history_duration (should be at most {MAX_SECONDS})",
        ),
        (
            {"history": ["PUBLISH"]},
            "Invalid value for history (should be a list of [type, object])",
        ),
        ({"history": [[1, {}]]}, "Invalid value for history (should be a list of [type, object])"),
        ({"history": [["A", 1]]}, "Invalid value for history (should be a list of [type, object])"),
        (
            {"durable": True, "polling": {"mode": "once"}},
            "Invalid value for polling (a durable channel cannot poll)",
        ),
        (
            {"server_user_presence": ["alice", ""]},
            "Invalid type for server_user_presence (should be a list of names)",
        ),
        (
            {"server_user_presence": [1]},
            "Invalid type for server_user_presence (should be a list of names)",
        ),
    ],
)
def test_options_that_are_wrong(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_channel_options(given)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "given",
    [
        {"speed": 1},
        {"interval": "x"},
        {"interval": True},
        {"interval": 0},
        {"interval": MAX_INTERVAL + 1},
        {"interval": -1},
        {"interval": float("nan")},
        {"interval": float("inf")},
        {"interval": 10**400},
        {"mode": 5},
        {"mode": "often"},
        {"mode": "simple"},  # without a URL
        {"mode": "simple", "url": "file:///etc/passwd"},
        {"url": "file:///etc/passwd"},
        {"mode": "once", "url": "http://"},
        {"mode": "once", "url": "http://a:0/"},
        {"mode": "once", "url": "http://[::1"},
        {"form": []},
        {"originator": None},
    ],
)
def test_polling_that_is_wrong(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Polling().changed(given)


def test_given_members_of_polling_replace_and_others_stay() -> None:
    first = Polling().changed({"mode": "once", "url": "http://x/", "interval": 2})
    second = first.changed({"originator": "ticker"})
    assert second.info() == {
        "mode": "once", "interval": 2.0, "url": "http://x/", "form": {}, "originator": "ticker",
    }  # fmt: skip
    assert first.originator == ""
    second.info()["form"]["secret"] = "x"
    assert Polling().form == second.form == {}  # defaults are not shared (D25)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_asks_the_site(operation: str) -> None:
    assert ChannelOptions().asks(operation)
    assert not ChannelOptions(moderated=False).asks(operation)
    options = ChannelOptions(moderated=False, **{f"moderated_{operation}": True})
    assert options.asks(operation)
    others = {"subscribe", "unsubscribe", "publish"} - {operation}
    assert not any(map(options.asks, others))


def test_user_options() -> None:
    assert user_options({}) == UserOptions()
    given = {"reflective": False, "auto_subscribe": ["x"]}
    assert user_options(given) == UserOptions(reflective=False)
    with pytest.raises(OptionError, match="Invalid keyword argument name"):
        user_options({"name": "alice"})
    with pytest.raises(OptionError):
        user_options({"moderated_message": "no"})
