"""The answers of “Try a channel”, and the shell command."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.core.management import CommandError, call_command
from django.dispatch import Signal

import djhookbox
from djhookbox import signals
from djhookbox.decisions.trials import UnknownUser, attempt, user_named
from djhookbox.policy.rules import Operation


def test_users_are_found_by_their_exact_name(alice: Any) -> None:
    assert user_named("alice") == alice
    assert isinstance(user_named(""), AnonymousUser)
    assert isinstance(user_named(" _x1f"), AnonymousUser)
    for name in ("Alice", "nobody", "alice "):
        with pytest.raises(UnknownUser, match="There is no user"):
            user_named(name)


def test_a_subscriber_who_may_not_create(make_policy: Any, alice: Any) -> None:
    make_policy("/x/", create_audience="staff", history_size=3)
    trial = attempt(alice, "/x/", Operation.SUBSCRIBE)
    assert trial.decision.allowed
    assert not trial.allowed
    assert trial.options is None
    assert "Allowed while the channel exists" in trial.outcome
    assert "Only staff" in trial.outcome


def test_the_options_are_those_of_the_creation(make_policy: Any, alice: Any) -> None:
    make_policy("/x/", history_size=3, subscribe_audience="signed_in")
    for operation in (Operation.SUBSCRIBE, Operation.CREATE):
        trial = attempt(alice, "/x/", operation)
        assert trial.allowed
        assert trial.options
        assert trial.options["history_size"] == 3
        assert trial.options["moderated_subscribe"] is True
    refused = attempt(AnonymousUser(), "/x/", Operation.SUBSCRIBE)
    assert (refused.allowed, refused.creation, refused.options) == (False, None, None)


def test_policies_that_are_off_are_mentioned(make_policy: Any, alice: Any) -> None:
    make_policy("/<x>/", "wide", enabled=False)
    make_policy("/other/", enabled=False)
    make_policy("/<broken", "broken", enabled=False)
    assert attempt(alice, "/x/", Operation.SUBSCRIBE).disabled == ("wide",)


def test_handlers_run_but_leave_nothing_and_receivers_are_not_asked(
    alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Handler:
        def create(self, user: Any, channel: str) -> dict[str, object]:
            Group.objects.create(name=f"made for {channel}")
            return {"history_size": 2}

        def publish(self, user: Any, channel: str, payload: object) -> bool:
            asked.append(payload)
            return True

    signal = Signal()
    monkeypatch.setattr(signals, "signals", dict.fromkeys(Operation, signal))
    signal.connect(lambda **kwargs: asked.append("told"), weak=False)
    djhookbox.register_channel_handler(Handler())
    trial = attempt(alice, "/x/", Operation.PUBLISH, {"a": 1})
    assert trial.allowed
    assert trial.options == {"history_size": 2}
    assert asked == [{"a": 1}]
    assert not Group.objects.exists()


# ---- the command -----------------------------------------------------------------------------


def explain(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("hookbox_explain", *arguments, stdout=out, no_color=True)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_the_command_tells(make_policy: Any, alice: Any) -> None:
    make_policy("/rooms/<int:room>/", "Rooms", order=1)
    make_policy("/<x>/", "Rest", order=2, subscribe_audience="staff", history_size=4)
    make_policy("/<y>/", "Later", enabled=False)
    status, text = explain("alice", "/x/")
    assert status == 1
    assert text.startswith("Refused: Only staff may do this here.")
    assert "policy:Rooms: Its pattern does not match." in text
    assert "policy:Rest: Only staff" in text
    assert "Disabled, but would match: Later" in text
    status, text = explain("alice", "/x/", "--operation", "publish")
    assert status == 0
    assert text.startswith("Allowed.")
    assert "history_size: 4" in text
    assert explain("", "/elsewhere/")[0] == 1


def test_the_command_answers_in_json(make_policy: Any, alice: Any) -> None:
    make_policy("/x/", "Größe", create_audience="nobody")
    status, text = explain("alice", "/x/", "--json")
    answer = json.loads(text)
    assert status == 1
    assert "Größe" in text
    assert answer["allowed"] is False
    assert answer["decision"]["allowed"] is True
    assert answer["decision"]["decided_by"] == "policy:Größe"
    assert answer["creation"]["steps"] == [
        {"who": "policy:Größe", "outcome": "refused", "said": "Nobody may do this here."}
    ]
    assert (answer["user"], answer["operation"], answer["options"]) == ("alice", "subscribe", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bob", "/x/"], "There is no user “bob”."),
        (["", ""], "1 to 255 characters"),
        (["", "x" * 256], "1 to 255 characters"),
        (["", "/x/", "--payload", "{"], "--payload: This is not JSON"),
        (["", "/x/", "--payload", "NaN"], "--payload: NaN is not valid JSON."),
        (["", "/x/", "--payload", "1e999"], "--payload: The number 1e999 is too large."),
        (["", "/x/", "--operation", "fly"], "invalid choice"),
    ],
)
def test_the_command_says_what_it_cannot_find_out(
    db: None, arguments: list[str], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        explain(*arguments)


def test_what_cannot_be_found_out_has_an_exit_status_of_its_own(db: None) -> None:
    with pytest.raises(CommandError) as caught:
        explain("bob", "/x/")
    assert caught.value.returncode == 2
