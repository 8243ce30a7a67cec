"""Reserved channels are open to users who may see the server page, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.exceptions import ValidationError

import djhookbox
from djhookbox import signals
from djhookbox.decisions.decide import Terms, decide
from djhookbox.decisions.rechecks import recheck
from djhookbox.exceptions import HookboxRefused
from djhookbox.models import ChannelPolicy, Publication
from djhookbox.policy import reserved
from djhookbox.policy.reserved import REPORT_CHANNEL
from djhookbox.policy.rules import Operation

from .conftest import Webhooks

READING = (Operation.CREATE, Operation.SUBSCRIBE)


def test_both_sides_mean_the_same_names() -> None:
    from djhookbox.server.core.model import RESERVED_PREFIX
    from djhookbox.server.reporting import CHANNEL

    assert (RESERVED_PREFIX, CHANNEL) == (reserved.PREFIX, REPORT_CHANNEL)


def viewer(make_user: Callable[..., Any], *, is_staff: bool = True) -> User:
    user: User = make_user("viewer", is_staff=is_staff)
    user.user_permissions.add(Permission.objects.get(codename="view_server"))
    return user


def test_who_may_see_the_page_may_read_the_report(make_user: Callable[..., Any]) -> None:
    for operation in READING:
        decision = decide(operation, viewer_or(make_user, operation), REPORT_CHANNEL)
        assert decision.allowed, operation
        assert decision.decided_by == "built-in"
    root = User.objects.create_superuser("root")
    assert decide(Operation.CREATE, root, REPORT_CHANNEL).options["moderated"] is True


def viewer_or(make_user: Callable[..., Any], operation: Operation) -> User:
    return User.objects.filter(username="viewer").first() or viewer(make_user)


@pytest.mark.parametrize("who", ["anonymous", "alice", "staff", "viewer who is no staff"])
def test_others_may_not(who: str, make_user: Callable[..., Any]) -> None:
    user: Any = AnonymousUser()
    if who == "viewer who is no staff":
        user = viewer(make_user, is_staff=False)
    elif who != "anonymous":
        user = make_user(who, is_staff=who == "staff")
    for operation in READING:
        assert not decide(operation, user, REPORT_CHANNEL).allowed


def test_nobody_publishes_there(db: None) -> None:
    root = User.objects.create_superuser("root")
    assert not decide(Operation.PUBLISH, root, REPORT_CHANNEL).allowed
    for channel in (REPORT_CHANNEL, f"{reserved.PREFIX}other"):
        with pytest.raises(HookboxRefused):
            djhookbox.publish(channel, {"connections": 0}, user=root)
        with pytest.raises(HookboxRefused):
            djhookbox.create(channel)
        with pytest.raises(HookboxRefused):
            djhookbox.subscribe(channel, root)
    assert not Publication.objects.filter(status="sent").exists()


def test_no_policy_and_no_handler_opens_a_reserved_name(
    alice: Any, make_policy: Callable[..., ChannelPolicy]
) -> None:
    make_policy("<path:everything>", order=1)
    make_policy("dj<path:rest>", order=2)

    class Generous:
        def create(self, user: Any, channel: str) -> dict[str, Any]:
            return {}

        def subscribe(self, user: Any, channel: str) -> bool:
            return True

        publish = None

    djhookbox.register_channel_handler(Generous())
    for channel in (REPORT_CHANNEL, f"{reserved.PREFIX}other"):
        for operation in (*READING, Operation.PUBLISH):
            assert not decide(operation, alice, channel).allowed, (operation, channel)
    assert decide(Operation.SUBSCRIBE, alice, "djhookbox").allowed, "which is not below it"


def test_receivers_do_not_hear_of_them(make_user: Callable[..., Any]) -> None:
    heard = []

    def receiver(sender: Any, **kwargs: Any) -> None:
        heard.append(kwargs)

    user = viewer(make_user)
    for signal in (signals.subscribe, signals.create, signals.destroy, signals.unsubscribe):
        signal.connect(receiver)
    try:
        for operation in (*READING, Operation.UNSUBSCRIBE, Operation.DESTROY):
            assert decide(operation, user, REPORT_CHANNEL).allowed
        assert heard == []
        decide(Operation.UNSUBSCRIBE, user, "/other/")
        assert len(heard) == 1
    finally:
        for signal in (signals.subscribe, signals.create, signals.destroy, signals.unsubscribe):
            signal.disconnect(receiver)


@pytest.mark.parametrize("pattern", [REPORT_CHANNEL, f"{reserved.PREFIX}<name>"])
def test_a_policy_for_them_cannot_be_entered(db: None, pattern: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ChannelPolicy(name="x", pattern=pattern).full_clean()
    assert "reserved" in str(caught.value.message_dict["pattern"])


def test_the_steps_of_other_channels_do_not_speak_of_them(alice: Any) -> None:
    decision = decide(Operation.SUBSCRIBE, alice, "/x/", terms=Terms(explain=True))
    assert not any("built-in" in step.who for step in decision.steps)
    decision = decide(Operation.SUBSCRIBE, alice, REPORT_CHANNEL, terms=Terms(explain=True))
    assert decision.steps[0].who == "built-in"


def test_the_right_ends_with_the_permission(make_user: Callable[..., Any]) -> None:
    user = viewer(make_user)
    assert recheck({REPORT_CHANNEL: ["viewer"]})[REPORT_CHANNEL].refused == {}
    user.user_permissions.clear()
    answer = recheck({REPORT_CHANNEL: ["viewer"]})[REPORT_CHANNEL]
    assert set(answer.refused) == {"viewer"}
    assert answer.options == {"moderated": True, "anonymous": True}


def test_the_server_is_told_when_a_group_loses_permissions(db: None, told: Any) -> None:
    group = Group.objects.create(name="operators")
    from django.test import TestCase

    with TestCase.captureOnCommitCallbacks(execute=True):
        group.permissions.add(Permission.objects.get(codename="view_server"))
    assert "djhookbox:server" in told.rechecked()[0]


def test_over_the_webhooks(webhooks: type[Webhooks], make_user: Callable[..., Any]) -> None:
    site = webhooks(viewer(make_user))
    assert site("create_channel", channel_name=REPORT_CHANNEL)[0]
    assert site("subscribe", channel_name=REPORT_CHANNEL)[0]
    assert not site("publish", channel_name=REPORT_CHANNEL, payload="1")[0]
    assert not webhooks()("subscribe", channel_name=REPORT_CHANNEL)[0]
