"""Bans are enforced wherever the site decides."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client
from django.utils import timezone

from djhookbox.bans import store
from djhookbox.bans.rules import Bans, Entry, Kind, Subject, network
from djhookbox.conf import settings as hookbox_settings
from djhookbox.decisions.decide import Terms, decide
from djhookbox.decisions.rechecks import recheck
from djhookbox.decisions.trials import attempt
from djhookbox.models import Ban, ChannelPolicy, ConnectionLog, Publication, SubscriptionLog
from djhookbox.policy.rules import Operation
from djhookbox.users.identity import connect_token, token_identity

pytestmark = pytest.mark.django_db


def entry(kind: Kind, value: str, until: float | None = None) -> Entry:
    return Entry(1, kind, value, "", until)


# ---- which ban matches -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "subject", "matches"),
    [
        (Kind.USER, "bob", Subject("bob"), True),
        (Kind.USER, "bob", Subject("Bob"), False),
        (Kind.USER, "bob", Subject("", "bob", "bob"), False),
        (Kind.SESSION, "session:1", Subject("bob", "session:1"), True),
        (Kind.SESSION, "session:1", Subject("session:1"), False),
        (Kind.ADDRESS, "192.0.2.7", Subject(address="192.0.2.7"), True),
        (Kind.ADDRESS, "192.0.2.0/24", Subject(address="192.0.2.255"), True),
        (Kind.ADDRESS, "192.0.2.0/24", Subject(address="::ffff:192.0.2.9"), True),
        (Kind.ADDRESS, "::ffff:192.0.2.0/120", Subject(address="192.0.2.9"), True),
        (Kind.ADDRESS, "192.0.2.0/24", Subject(address="192.0.3.1"), False),
        (Kind.ADDRESS, "192.0.2.0/24", Subject(address="2001:db8::1"), False),
        (Kind.ADDRESS, "2001:db8::/32", Subject(address="2001:db8:1::1"), True),
        (Kind.ADDRESS, "192.0.2.0/24", Subject(address="unknown"), False),
        (Kind.ADDRESS, "192.0.2.0/24", Subject("192.0.2.1"), False),
        (Kind.ADDRESS, "nonsense", Subject(address="192.0.2.1"), False),
    ],
)
def test_what_a_ban_matches(kind: Kind, value: str, subject: Subject, matches: bool) -> None:
    assert (Bans([entry(kind, value)]).find(subject, 0.0) is not None) == matches


def test_a_ban_ends_while_it_is_cached() -> None:
    bans = Bans([entry(Kind.USER, "bob", until=100.0), entry(Kind.ADDRESS, "::/0", until=100.0)])
    for subject in (Subject("bob"), Subject("alice", "", "2001:db8::1")):
        assert bans.find(subject, 99.9) is not None
        assert bans.find(subject, 100.0) is None


@pytest.mark.parametrize("untils", [(100.0, None), (None, 100.0), (100.0, 200.0), (200.0, 100.0)])
@pytest.mark.parametrize(
    ("kind", "value", "subject"),
    [
        (Kind.USER, "bob", Subject("bob")),
        (Kind.ADDRESS, "192.0.2.0/24", Subject(address="192.0.2.7")),
    ],
)
def test_of_several_bans_the_longest_counts(
    untils: tuple[float | None, float | None], kind: Kind, value: str, subject: Subject
) -> None:
    bans = Bans([entry(kind, value, until=until) for until in untils])
    assert bans.find(subject, 150.0) is not None


def test_only_active_bans_are_loaded() -> None:
    now = timezone.now()
    minute = datetime.timedelta(minutes=1)
    for name, values in {
        "a": {},
        "b": {"until": now + minute},
        "c": {"until": now - minute},
        "d": {"lifted": now},
    }.items():
        Ban.objects.create(kind=Kind.USER, value=name, **values)
    found = {name for name in "abcd" if store.load().find(Subject(name), now.timestamp())}
    assert found == {"a", "b"}
    assert [ban.status for ban in Ban.objects.order_by("value")] == [
        "active", "active", "expired", "lifted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        (Kind.ADDRESS, " 192.0.2.7/24 ", "192.0.2.0/24"),
        (Kind.ADDRESS, "2001:DB8::1", "2001:db8::1/128"),
        (Kind.ADDRESS, "192.0.2", None),
        (Kind.ADDRESS, "", None),
        (Kind.SESSION, "session:abc", "session:abc"),
        (Kind.SESSION, "anonymous", None),
        (Kind.USER, "bob", "bob"),
        (Kind.USER, "b\nb", None),
    ],
)
def test_values_are_normalised_and_checked(kind: Kind, value: str, stored: str | None) -> None:
    ban = Ban(kind=kind, value=value)
    if stored is None:
        with pytest.raises(ValidationError) as caught:
            ban.full_clean()
        assert "value" in caught.value.message_dict
    else:
        ban.full_clean()
        assert ban.value == stored
    assert network("fe80::/200") is None


def test_a_reason_must_fit_into_a_close_frame() -> None:
    with pytest.raises(ValidationError, match="120 bytes"):
        Ban(kind=Kind.USER, value="bob", reason="ü" * 61).full_clean()


# ---- decisions ---------------------------------------------------------------------------------


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob", is_superuser=True, is_staff=True)


@pytest.fixture
def channel() -> str:
    ChannelPolicy.objects.create(
        name="Open", pattern="/open/", subscribe_audience="everyone", publish_audience="everyone"
    )
    return "/open/"


def ban(kind: Kind = Kind.USER, value: str = "bob", **values: Any) -> Ban:
    return Ban.objects.create(kind=kind, value=value, **values)


def test_a_ban_comes_before_all_policies(bob: User, channel: str) -> None:
    one = ban(reason="Spam.")
    for operation in (Operation.CREATE, Operation.SUBSCRIBE, Operation.PUBLISH):
        decision = decide(operation, bob, channel)
        assert (decision.allowed, decision.reason) == (False, "Spam.")
        assert decision.decided_by == f"ban:{one.pk}"
    assert not decide(Operation.CONNECT, bob).allowed
    # Code may still use the user's name, and leaving is always possible.
    assert decide(Operation.CREATE, bob, channel, terms=Terms(trusted=True)).allowed
    assert decide(Operation.UNSUBSCRIBE, bob, channel).allowed
    assert decide(Operation.DISCONNECT, bob).allowed
    one.delete()
    assert decide(Operation.SUBSCRIBE, bob, channel).allowed


def test_trying_a_channel_says_so(bob: User, channel: str) -> None:
    one = ban()
    trial = attempt(bob, channel, Operation.SUBSCRIBE)
    assert not trial.allowed
    assert trial.decision.steps[-1].who == f"ban:{one.pk}"
    assert "An operator has banned you." in trial.outcome


def test_rechecks_end_the_subscriptions_of_the_banned(bob: User, channel: str) -> None:
    ban(value=" _visitor")
    ban()
    refused = recheck({channel: ["bob", " _visitor", " _other"]})[channel].refused
    assert set(refused) == {"bob", " _visitor"}


def test_an_edit_is_seen_at_once_in_its_transaction_and_after_it(bob: User) -> None:
    assert store.find(Subject("bob")) is None
    with transaction.atomic():
        ban()
        assert store.find(Subject("bob")) is not None
        transaction.set_rollback(True)
    assert store.find(Subject("bob")) is None


# ---- webhooks ----------------------------------------------------------------------------------


def post(action: str, client: Client | None = None, **fields: str) -> list[Any]:
    form = {"action": action, "secret": hookbox_settings.webhook_secrets[0], **fields}
    headers = {"X-Hookbox-Version": "djhookbox/test"}
    response = (client or Client()).post(f"/hookbox/{action}", form, headers=headers)
    assert response.status_code == 200
    found: list[Any] = json.loads(response.content)
    return found


def test_no_address_of_a_banned_range_may_connect(bob: User) -> None:
    one = ban(Kind.ADDRESS, "192.0.2.0/24", reason="Spam.")
    for address, allowed in (("192.0.2.77", False), ("192.0.3.1", True), ("", True)):
        found = post("connect", token=connect_token(bob), conn_id="c", remote_addr=address)
        assert found[0] is allowed, address
    row = ConnectionLog.objects.get(event="refused")
    assert (row.decided_by, row.reason, row.user_name) == (f"ban:{one.pk}", "Spam.", "bob")


def test_what_a_banned_session_has_open_is_refused_everything(bob: User, channel: str) -> None:
    identity = token_identity(bob)
    fields = {"conn_id": "c", "user": "bob", "identity": identity, "channel_name": channel}
    assert post("subscribe", **fields)[0]
    ban(Kind.SESSION, identity)
    store.cache.drop()  # a second later
    assert not post("subscribe", **fields)[0]
    assert not post("create_channel", **fields)[0]
    assert not post("publish", payload="1", **fields)[0]
    many = json.dumps([{"channel_name": channel, "subscribe": True}])
    answer = post("subscribe_many", channels=many, conn_id="c", user="bob", identity=identity)
    assert answer[1]["channels"][channel]["subscribe"][0] is False
    assert SubscriptionLog.objects.filter(decided_by__startswith="ban:").count() == 3
    assert Publication.objects.get().status == "refused"
    # Another session of the same user is not concerned.
    assert post("connect", token=connect_token(bob), conn_id="d")[0] is False
    other = User.objects.create_user("other")
    assert post("connect", token=connect_token(other), conn_id="d")[0]


def test_bans_hold_in_batches_too(bob: User, channel: str) -> None:
    ban(Kind.ADDRESS, "192.0.2.7")
    ban(value="carol")
    User.objects.create_user("carol")
    calls = [
        {"fields": {"action": "connect", "conn_id": "1", "remote_addr": "192.0.2.7"}},
        {"fields": {"action": "connect", "conn_id": "2", "remote_addr": "192.0.2.8"}},
        {"fields": {"action": "subscribe", "conn_id": "3", "user": "carol",
                    "identity": token_identity(User.objects.get(username="carol")),
                    "channel_name": channel}},
    ]  # fmt: skip
    answers = post("batch", calls=json.dumps(calls))[1]["answers"]
    assert [answer[1][0] for answer in answers] == [False, True, False]


def test_a_durable_publication_is_refused_too(bob: User) -> None:
    ChannelPolicy.objects.create(
        name="Kept", pattern="/kept/", publish_audience="everyone", durable=True
    )
    identity = token_identity(bob)
    fields = {"conn_id": "c", "user": "bob", "identity": identity, "channel_name": "/kept/"}
    ban(Kind.SESSION, identity)
    store.cache.drop()
    answer = post("publish", payload="1", key="k", **fields)
    assert answer[0] is False
