from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils.translation import gettext_lazy

import djhookbox
from djhookbox import handlers, options
from djhookbox.handlers import HandlerError, ask, whcallback
from djhookbox.policy.rules import Operation

USER = AnonymousUser()
CREATE = Operation.CREATE


class Of2011:
    """The handler from the README of 2011."""

    def __init__(self, channel: str, result: object) -> None:
        self.channel = channel
        self.result = result
        self.asked: list[tuple[object, str]] = []

    def create(self, user: object, channel: str) -> object:
        self.asked.append((user, channel))
        return self.result if channel == self.channel else None


def test_the_first_handler_with_an_opinion_decides() -> None:
    first, second, third = Of2011("/a/", {}), Of2011("/b/", {"history_size": 3}), Of2011("/b/", {})
    for handler in (first, second, third):
        djhookbox.register_channel_handler(handler)
    answer = ask(CREATE, USER, "/b/")
    assert answer
    assert (answer.allowed, answer.options) == (True, {"history_size": 3})
    assert answer.by == "handler:tests.test_handlers.Of2011"
    assert [len(handler.asked) for handler in (first, second, third)] == [1, 1, 0]
    assert first.asked == [(USER, "/b/")]
    assert ask(CREATE, USER, "/c/") is None


def test_registering_twice_is_registering_once() -> None:
    handler = Of2011("/a/", {})
    djhookbox.register_channel_handler(handler)
    djhookbox.register_channel_handler(handler)
    djhookbox.unregister_channel_handler(handler)
    assert ask(CREATE, USER, "/a/") is None
    assert not handler.asked
    with pytest.raises(ValueError, match="not registered"):
        djhookbox.unregister_channel_handler(handler)


def test_an_empty_dict_means_yes() -> None:
    djhookbox.register_channel_handler(Of2011("/a/", {}))
    answer = ask(CREATE, USER, "/a/")
    assert answer
    assert answer.allowed


@pytest.mark.parametrize(
    ("result", "allowed", "options", "reason"),
    [
        ({"presenceful": True}, True, {"presenceful": True}, ""),
        ([True, {"presenceful": True}], True, {"presenceful": True}, ""),
        ((1, {}), True, {}, ""),
        ([False, {"msg": "no"}], False, {}, "no"),
        ([False, {"error": "never", "msg": "no"}], False, {}, "never"),
        ([False, {}], False, {}, "Refused."),
        ("go away", False, {}, "go away"),
        (gettext_lazy("staff"), False, {}, "staff"),
        ("", False, {}, "Refused."),
        (True, True, {}, ""),
        (False, False, {}, "Refused."),
    ],
)
def test_what_a_handler_may_answer(
    result: object, allowed: bool, options: dict[str, object], reason: str
) -> None:
    djhookbox.register_channel_handler(Of2011("/a/", result))
    answer = ask(CREATE, USER, "/a/")
    assert answer
    assert (answer.allowed, answer.options, answer.reason) == (allowed, options, reason)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (3, "int"),
        ([True], "list"),
        ([True, 1], "list"),
        ({"historysize": 1}, "historysize"),
        ({"history_size": "10"}, "history_size"),
        ({"history_size": True}, "history_size"),
        ({"moderated": 1}, "moderated"),
        ({"state": []}, "state"),
        ({"history": {}}, "history"),
        ({"polling": {"mode": "x"}}, "Polling"),
        ({"server_user_presence": "alice"}, "server_user_presence"),
        ({"state": {"a": object()}}, "JSON"),
        ({"state": {"a": float("nan")}}, "JSON"),
        ({"auto_subscribe": ["/b/"]}, "auto_subscribe"),
    ],
)
def test_what_cannot_be_understood_names_the_handler(result: object, says: str) -> None:
    djhookbox.register_channel_handler(Of2011("/a/", result))
    with pytest.raises(HandlerError, match=says) as caught:
        ask(CREATE, USER, "/a/")
    assert caught.value.by in str(caught.value)


def test_each_operation_has_its_reply_options() -> None:
    class Handler:
        def subscribe(self, user: object, channel: str) -> object:
            return {"initial_data": {"a": (1, 2)}, "auto_subscribe": ("/b/",)}

        def publish(self, user: object, channel: str, payload: object) -> object:
            return {"override_payload": [payload, channel], "only_to_sender": True}

        def connect(self, user: object) -> object:
            return {"name": "root"}

    djhookbox.register_channel_handler(Handler())
    subscribed, published = (
        ask(Operation.SUBSCRIBE, USER, "/a/"), ask(Operation.PUBLISH, USER, "/a/", 1),
    )  # fmt: skip
    assert subscribed
    assert subscribed.options == {"initial_data": {"a": [1, 2]}, "auto_subscribe": ["/b/"]}
    assert published
    assert published.options == {"override_payload": [1, "/a/"], "only_to_sender": True}
    with pytest.raises(HandlerError, match="name"):  # nobody renames users
        ask(Operation.CONNECT, USER)


@pytest.mark.parametrize(
    ("operation", "given", "says"),
    [
        (CREATE, {"colour": "red"}, "Unknown option “colour”"),
        (CREATE, {"history_size": True}, "“history_size” must be a whole number"),
        (CREATE, {"history_size": -1}, "“history_size” must be a whole number"),
        (CREATE, {"history_size": 10_001}, "“history_size” must be at most 10000"),
        (CREATE, {"moderated": 1}, "“moderated” must be true or false"),
        (CREATE, {"history": {}}, "“history” must be a list"),
        (CREATE, {"history": ["x"]}, "“history” must be a list of pairs"),
        (CREATE, {"state": []}, "“state” must be an object"),
        (CREATE, {"server_user_presence": [1]}, "“server_user_presence” must be a list of names"),
        (CREATE, {"polling": 1}, "“polling” must be an object"),
        (CREATE, {"polling": {"mode": "often"}}, "^Polling: “mode” must be"),
        (Operation.CONNECT, {"identity": "x"}, "Unknown option “identity”"),
        (Operation.CONNECT, {"single_use": 1}, "Unknown option “single_use”"),
        (Operation.CONNECT, {"moderated_message": "no"}, "must be true or false"),
        (Operation.SUBSCRIBE, {"auto_subscribe": "/a/"}, "must be a list of names"),
        (Operation.SUBSCRIBE, {"auto_subscribe": ["/a/\n"]}, "must be a list of names"),
        (Operation.PUBLISH, {"only_to_sender": 1}, "must be true or false"),
        (Operation.PUBLISH, {"publication": 1}, "Unknown option “publication”"),
        (Operation.MESSAGE, {"override_recipient_name": 1}, "must be a string"),
        (Operation.DESTROY, {"x": 1}, "Unknown option “x”"),
    ],
)
def test_options_that_no_server_would_take(
    operation: Operation, given: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        options.checked(operation, given)


def test_whether_there_is_anybody_to_ask() -> None:
    assert not handlers.anyone_for(CREATE)
    djhookbox.register_channel_handler(Of2011("/a/", {}))
    assert handlers.anyone_for(CREATE)
    assert not handlers.anyone_for(Operation.PUBLISH)
    whcallback("publish")(lambda op, user, channel, payload: None)
    assert handlers.anyone_for(Operation.PUBLISH)
    assert not handlers.anyone_for(Operation.SUBSCRIBE)
    whcallback(lambda op, user, *args, **kwargs: None)
    assert handlers.anyone_for(Operation.SUBSCRIBE)


# ---- whcallback


def test_whcallback_and_its_forms() -> None:
    calls: list[tuple[str, Any, Any]] = []

    def recorder(name: str) -> Any:
        def callback(*args: Any, **kwargs: Any) -> None:
            calls.append((name, args, kwargs))

        return callback

    bare = recorder("bare")
    assert whcallback(bare) is bare
    named = recorder("named")
    assert whcallback("create")(named) is named
    whcallback("create", "publish")(recorder("several"))
    whcallback(["create", "destroy"])(recorder("list"))
    whcallback()(recorder("empty"))

    def called(operation: Operation, *args: Any) -> list[tuple[str, Any, Any]]:
        calls.clear()
        assert ask(operation, USER, *args) is None
        return list(calls)

    assert [name for name, *_rest in called(CREATE, "/a/")] == [
        "bare", "named", "several", "list", "empty",
    ]  # fmt: skip
    assert calls[0][1:] == (("create", USER, "/a/"), {})
    assert called(Operation.CONNECT) == [
        ("bare", ("connect", USER), {}), ("empty", ("connect", USER), {}),
    ]  # fmt: skip
    assert called(Operation.DISCONNECT)[0][1:] == (("disconnect", USER), {})
    for operation in ("subscribe", "unsubscribe", "destroy"):
        assert called(Operation(operation), "/a/")[0] == (
            "bare", (operation, USER), {"channel": "/a/"},
        )  # fmt: skip
    assert called(Operation.PUBLISH, "/a/", {"x": 1})[-1] == (
        "empty", ("publish", USER, "/a/", {"x": 1}), {},
    )  # fmt: skip
    assert all(type(args[0]) is str for _name, args, _kwargs in calls)


def test_whcallback_knows_its_operations() -> None:
    with pytest.raises(ValueError, match="'subscribed'"):
        whcallback("subscribed")
    with pytest.raises(TypeError):
        whcallback(print, "create")  # type: ignore[call-overload]


def test_the_first_result_counts_and_more_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    heard = []
    whcallback("create")(lambda op, user, channel: None)
    whcallback("create")(lambda op, user, channel: {"history_size": 1})
    whcallback("create")(lambda op, user, channel: heard.append(channel) or "no")
    with caplog.at_level(logging.WARNING, "djhookbox"):
        answer = ask(CREATE, USER, "/a/")
    assert answer
    assert answer.options == {"history_size": 1}
    assert heard == ["/a/"]
    assert "has already answered" in caplog.text


def test_results_for_connect_and_disconnect_are_ignored() -> None:
    whcallback(lambda op, user: "go away")
    assert ask(Operation.CONNECT, USER) is None
    assert ask(Operation.DISCONNECT, USER) is None


def test_functions_hear_of_what_a_handler_allows_but_not_of_what_it_refuses() -> None:
    heard: list[str] = []
    whcallback("create")(lambda op, user, channel: heard.append(channel))
    djhookbox.register_channel_handler(Of2011("/a/", {}))
    djhookbox.register_channel_handler(Of2011("/b/", "no"))
    ask(CREATE, USER, "/a/")
    ask(CREATE, USER, "/b/")
    assert heard == ["/a/"]
