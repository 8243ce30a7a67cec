from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.dispatch import Signal
from hypothesis import given
from hypothesis import strategies as st

import djhookbox
from djhookbox import signals
from djhookbox.decisions import store
from djhookbox.decisions.decide import Decision, Terms, decide, decide_for_code, standing_options
from djhookbox.exceptions import HookboxError
from djhookbox.models import ChannelPolicy
from djhookbox.policy.patterns import compile_pattern
from djhookbox.policy.rules import Audience, Operation, Rule
from djhookbox.users.facts import Facts

from .conftest import Who
from .stand_ins.clock import Clock

pytestmark = pytest.mark.django_db

VISITOR = AnonymousUser()
MakePolicy = Callable[..., ChannelPolicy]


@contextmanager
def receiving(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


class Handler:
    """Allows /a/ and any other given channel."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        self.__dict__.update(methods)

    def create(self, user: Any, channel: str) -> Any:
        return {"history_size": 5} if channel == "/a/" else None


# ---- who decides


def test_nobody_vouches() -> None:
    for operation in ("create", "subscribe", "publish", "message"):
        decision = decide(operation, VISITOR, "/a/")
        assert (decision.allowed, decision.decided_by, decision.code) == (
            False, "nobody", "refused",
        )  # fmt: skip
        assert decision.reason
    for operation in ("connect", "disconnect", "unsubscribe", "destroy"):
        assert decide(operation, VISITOR, "/a/") == Decision(True)


def test_policies_come_before_handlers(make_policy: MakePolicy, alice: Any) -> None:
    make_policy("/a/", "Rooms", subscribe_audience="nobody", history_size=7)
    asked: list[str] = []
    djhookbox.register_channel_handler(
        Handler(create=lambda user, channel: asked.append(channel) or {})
    )
    created = decide("create", alice, "/a/")
    assert (created.allowed, created.decided_by) == (True, "policy:Rooms")
    assert created.options["history_size"] == 7
    assert created.explicit == frozenset()
    refused = decide("subscribe", alice, "/a/")
    assert (refused.allowed, refused.decided_by) == (False, "policy:Rooms")
    assert decide("publish", alice, "/a/").allowed
    assert asked == []


def test_handlers_decide_where_no_policy_matches(make_policy: MakePolicy, alice: Any) -> None:
    make_policy("/b/")
    make_policy("/a/", "off", enabled=False, create_audience="nobody")
    djhookbox.register_channel_handler(Handler())
    created = decide("create", alice, "/a/")
    assert created.allowed
    assert created.decided_by == "handler:tests.test_decisions.Handler"
    assert created.options == {"history_size": 5}
    assert created.explicit == {"history_size"}
    assert not decide("create", alice, "/c/").allowed


def test_who_vouches_for_a_channel_vouches_for_its_use(alice: Any) -> None:
    """Handlers of 2011 only have `create`; whoever it admits may subscribe and publish."""
    djhookbox.register_channel_handler(Handler())
    for operation in ("subscribe", "publish"):
        used = decide(operation, alice, "/a/", payload=1)
        assert used.allowed
        assert used.options == {}  # those of the channel are none of a reply
        assert not decide(operation, alice, "/b/").allowed


def test_a_handlers_own_methods_come_first(alice: Any) -> None:
    djhookbox.register_channel_handler(
        Handler(
            subscribe=lambda user, channel: {"initial_data": 1} if channel == "/a/" else None,
            publish=lambda user, channel, payload: "too long" if payload == "long" else None,
        )
    )
    assert decide("subscribe", alice, "/a/").options == {"initial_data": 1}
    refused = decide("publish", alice, "/a/", payload="long")
    assert (refused.allowed, refused.reason) == (False, "too long")
    assert decide("publish", alice, "/a/", payload="short").allowed
    assert not decide("publish", alice, "/b/", payload="short").allowed


def test_a_policy_may_ask_the_handlers(make_policy: MakePolicy, alice: Any) -> None:
    make_policy(
        "/<x>/", "ask", create_audience="handlers", subscribe_audience="handlers",
        publish_audience="nobody", moderated=False, history_size=2, presenceful=True,
    )  # fmt: skip
    assert decide("create", alice, "/a/").decided_by == "nobody"
    off = {"moderated": False, "moderated_subscribe": False, "moderated_publish": False}
    djhookbox.register_channel_handler(
        Handler(create=lambda user, channel: {"history_size": 9, **off})
    )
    options = decide("create", alice, "/a/").options
    assert (options["history_size"], options["presenceful"]) == (9, True)
    # Its audiences are not everyone: no handler switches off the asking.
    assert [options[name] for name in off] == [True, True, True]
    assert decide("subscribe", alice, "/a/").allowed
    assert not decide("publish", alice, "/a/").allowed


def test_a_handler_of_its_own_channel_may_leave_it_unmoderated(alice: Any) -> None:
    djhookbox.register_channel_handler(Handler(create=lambda user, channel: {"moderated": False}))
    assert decide("create", alice, "/a/").options == {"moderated": False}


def test_inactive_accounts_get_nothing(make_policy: MakePolicy, make_user: Any) -> None:
    make_policy("/b/")
    djhookbox.register_channel_handler(Handler(connect=lambda user: True))
    gone = make_user("gone", is_active=False, is_superuser=True)
    for operation in ("connect", "create", "subscribe", "publish", "message"):
        for channel in ("/a/", "/b/"):
            assert not decide(operation, gone, channel).allowed
    assert decide("unsubscribe", gone, "/b/").allowed


def test_messages_between_users_need_a_handler(alice: Any) -> None:
    djhookbox.register_channel_handler(
        Handler(message=lambda user, recipient, payload: {"override_payload": recipient})
    )
    assert decide("message", alice, "bob", payload=1).options == {"override_payload": "bob"}


def test_a_connect_handler_decides(alice: Any) -> None:
    djhookbox.register_channel_handler(
        Handler(connect=lambda user: {"auto_subscribe": ["/a/"]} if user.pk else "sign in first")
    )
    assert decide("connect", alice).options == {"auto_subscribe": ["/a/"]}
    assert decide("connect", VISITOR).reason == "sign in first"


# ---- code


def test_code_is_past_audiences_but_not_past_vouching(make_policy: MakePolicy) -> None:
    make_policy("/b/", create_audience="nobody", publish_audience="nobody", history_size=3)
    make_policy("/c/", create_audience="handlers")
    assert decide_for_code("/b/", VISITOR).options["history_size"] == 3
    assert not decide_for_code("/a/", VISITOR).allowed
    assert not decide_for_code("/c/", VISITOR).allowed
    djhookbox.register_channel_handler(Handler())
    assert decide_for_code("/a/", VISITOR).options == {"history_size": 5}
    assert not decide_for_code("/c/", VISITOR).allowed


def test_code_sends_no_signals(make_policy: MakePolicy) -> None:
    make_policy("/b/")
    heard: list[Any] = []
    with receiving(signals.create, lambda **kwargs: heard.append(kwargs)):
        assert decide_for_code("/b/", VISITOR).allowed
        assert heard == []
        assert decide("create", VISITOR, "/b/").allowed
    assert len(heard) == 1


# ---- audiences with real users


def test_groups_and_permissions_of_real_users(make_policy: MakePolicy, alice: Any) -> None:
    group = Group.objects.create(name="readers")
    other = Group.objects.create(name="others")
    make_policy("/g/", subscribe_audience="groups").groups.add(group, other)
    make_policy("/p/", subscribe_audience="permission", permission="djhookbox.view_server")
    assert not decide("subscribe", alice, "/g/").allowed
    assert not decide("subscribe", alice, "/p/").allowed
    alice.groups.add(group)
    alice.user_permissions.add(Permission.objects.get(codename="view_server"))
    fresh = type(alice).objects.get(pk=alice.pk)
    assert decide("subscribe", fresh, "/g/").allowed
    assert decide("subscribe", fresh, "/p/").allowed


def test_facts_are_asked_once(alice: Any, django_assert_num_queries: Any) -> None:
    facts = Facts(alice)
    with django_assert_num_queries(1):
        assert facts.group_ids() == facts.group_ids() == frozenset()
    with django_assert_num_queries(2):
        assert not facts.has_permission("a.b")
        assert not facts.has_permission("a.b")
    visitor = Facts(VISITOR)
    assert (visitor.username, visitor.is_anonymous, visitor.is_active) == ("", True, False)
    assert visitor.group_ids() == frozenset()


# ---- refusals and failures


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (PermissionDenied("not on Sundays"), "not on Sundays", "refused"),
        (PermissionDenied(), "Refused.", "refused"),
        (HookboxError("the server is full"), "the server is full", "refused"),
        (
            KeyError("secret detail"),
            "The site could not decide this because of an error; see its log.",
            "error",
        ),
    ],
)
@pytest.mark.parametrize("where", ["handler", "signal"])
def test_what_exceptions_become(
    error: Exception,
    reason: str,
    code: str,
    where: str,
    alice: Any,
    make_policy: MakePolicy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    if where == "handler":
        djhookbox.register_channel_handler(Handler(subscribe=fail))
        decision = decide("subscribe", alice, "/a/")
    else:
        make_policy("/a/")
        with receiving(signals.subscribe, fail):
            decision = decide("subscribe", alice, "/a/")
    assert (decision.allowed, decision.reason, decision.code) == (False, reason, code)
    assert decision.decided_by.startswith(f"{where}:tests.test_decisions.")
    assert decision.decided_by.endswith("fail")
    records = [r for r in caplog.records if r.name == "djhookbox"]
    assert bool(records) == (code == "error")
    if records:
        assert records[0].exc_info
        assert records[0].levelno == logging.ERROR


def test_with_debug_the_browser_reads_the_exception(settings: Any, alice: Any) -> None:
    settings.DEBUG = True
    djhookbox.register_channel_handler(Handler(create=lambda user, channel: 1 / 0))
    assert decide("create", alice, "/a/").reason == "ZeroDivisionError: division by zero"


def test_a_handler_with_wrong_options_is_logged_and_refused(
    alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    djhookbox.register_channel_handler(Handler(create=lambda user, channel: {"histroy_size": 1}))
    decision = decide("create", alice, "/a/")
    assert (decision.allowed, decision.code) == (False, "error")
    assert decision.decided_by == "handler:tests.test_decisions.Handler"
    assert "histroy_size" in caplog.text


# ---- signals


@pytest.mark.parametrize(
    ("operation", "extra"),
    [
        ("connect", {}),
        ("disconnect", {}),
        ("create", {"channel": "/b/"}),
        ("destroy", {"channel": "/b/"}),
        ("subscribe", {"channel": "/b/"}),
        ("unsubscribe", {"channel": "/b/"}),
        ("publish", {"channel": "/b/", "payload": [1]}),
    ],
)
def test_signals_carry_what_they_did_in_2011(
    operation: str, extra: dict[str, Any], make_policy: MakePolicy, alice: Any
) -> None:
    make_policy("/b/")
    heard: list[dict[str, Any]] = []
    with receiving(signals.signals[operation], lambda **kwargs: heard.append(kwargs)):
        assert decide(operation, alice, "/b/", payload=[1]).allowed
        assert decide(operation, alice, "/b/", payload=[1], terms=Terms(send_signals=False)).allowed
    [arguments] = heard
    assert arguments.pop("signal") is signals.signals[operation]
    assert arguments == {"sender": alice, **extra}


def test_what_is_refused_sends_no_signal(make_policy: MakePolicy, alice: Any) -> None:
    make_policy("/b/", subscribe_audience="nobody")
    heard: list[Any] = []
    with receiving(signals.subscribe, lambda **kwargs: heard.append(kwargs)):
        assert not decide("subscribe", alice, "/b/").allowed
        assert not decide("subscribe", alice, "/unknown/").allowed
    assert heard == []


@pytest.mark.parametrize("operation", ["disconnect", "unsubscribe", "destroy"])
def test_receivers_cannot_hold_who_wants_to_go(
    operation: str, alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Any] = []

    def fail(**kwargs: Any) -> None:
        raise PermissionDenied("stay")

    with (
        receiving(signals.signals[operation], fail),
        receiving(signals.signals[operation], lambda **kwargs: heard.append(kwargs)),
    ):
        assert decide(operation, alice, "/b/") == Decision(True)
    assert len(heard) == 1
    assert "stay" in caplog.text


def test_leaving_and_handlers(alice: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A plain no counts where the protocol has one; a bug does not hold anybody."""
    djhookbox.register_channel_handler(
        Handler(
            unsubscribe=lambda user, channel: "stay" if channel == "/a/" else 1 / 0,
            disconnect=lambda user: "stay",
        )
    )
    heard: list[Any] = []
    with receiving(signals.unsubscribe, lambda **kwargs: heard.append(kwargs)):
        assert decide("unsubscribe", alice, "/a/").reason == "stay"
        assert heard == []
        assert decide("unsubscribe", alice, "/b/").allowed
        assert len(heard) == 1
    assert "ZeroDivisionError" in caplog.text
    assert decide("disconnect", alice).allowed


# ---- transactions


def test_what_a_refused_operation_wrote_is_rolled_back(alice: Any, make_policy: MakePolicy) -> None:
    make_policy("/b/")

    def write_and_fail(**kwargs: Any) -> None:
        Group.objects.create(name="written")
        raise PermissionDenied("no")

    with receiving(signals.subscribe, write_and_fail):
        assert not decide("subscribe", alice, "/b/").allowed
    assert not Group.objects.exists()


def test_a_database_error_leaves_the_transaction_usable(
    alice: Any, make_policy: MakePolicy
) -> None:
    make_policy("/b/")
    Group.objects.create(name="taken")

    def fail(**kwargs: Any) -> None:
        Group.objects.create(name="taken")

    for operation, allowed in (("subscribe", False), ("unsubscribe", True)):
        with receiving(signals.signals[operation], fail):
            assert decide(operation, alice, "/b/").allowed is allowed
        assert not connection.needs_rollback
        assert Group.objects.count() == 1


def test_no_savepoint_without_anybody_to_run(
    alice: Any, make_policy: MakePolicy, django_assert_num_queries: Any
) -> None:
    make_policy("/b/", subscribe_audience="signed_in")
    with django_assert_num_queries(2):  # the policies and the bans
        assert decide("subscribe", alice, "/b/").allowed
    with django_assert_num_queries(0):
        assert decide("unsubscribe", alice, "/b/").allowed
    djhookbox.register_channel_handler(Handler())
    with django_assert_num_queries(2):  # a policy decides: the handler is not asked
        assert decide("subscribe", alice, "/b/").allowed


# ---- explanations


def test_steps(make_policy: MakePolicy, alice: Any) -> None:
    make_policy("/a/", "one", order=1)
    make_policy("/<x>/", "two", order=2, subscribe_audience="handlers")
    assert decide("subscribe", alice, "/b/").steps == ()
    decision = decide("subscribe", alice, "/b/", terms=Terms(explain=True))
    assert [step.who for step in decision.steps] == ["policy:one", "policy:two", "nobody"]
    assert decision.steps[-1].said == decision.reason
    allowed = decide("subscribe", alice, "/a/", terms=Terms(explain=True))
    assert [step.who for step in allowed.steps] == ["policy:one"]


def test_steps_of_handlers(alice: Any) -> None:
    class Silent:
        def create(self, user: Any, channel: str) -> None:
            return None

    class Strict:
        def create(self, user: Any, channel: str) -> dict[str, object]:
            if channel == "/raises/":
                raise PermissionDenied("Not on Sundays.")
            return {}

        def publish(self, user: Any, channel: str, payload: object) -> str | None:
            return "Too loud." if payload == "LOUD" else None

    for handler in (Silent(), Strict()):
        djhookbox.register_channel_handler(handler)

    def said(operation: str, channel: str, payload: object = None) -> list[tuple[str, str]]:
        decision = decide(operation, alice, channel, payload=payload, terms=Terms(explain=True))
        return [(step.who.rpartition(".")[2], step.said) for step in decision.steps]

    silent = ("Silent", "It has no opinion.")
    assert said("create", "/x/") == [silent, ("Strict", "It allows this.")]
    assert said("publish", "/x/", "LOUD") == [
        ("Silent", "It was not asked: it has no method “publish”."),
        ("Strict", "It refuses this: Too loud."),
    ]
    assert said("publish", "/x/")[-3:] == [
        ("handlers", "No handler has an opinion: the decision on creating the channel applies."),
        silent,
        ("Strict", "It allows this."),
    ]
    assert said("create", "/raises/") == [
        silent,
        ("create", "It refuses this: Not on Sundays."),
    ]


# ---- options of live channels


def rule(pattern: str, **fields: Any) -> Rule:
    return Rule("p", pattern, compile_pattern(pattern), **fields)


def test_standing_options() -> None:
    open_to_all = {"create": "everyone", "subscribe": "everyone", "publish": "everyone"}
    chosen = {"moderated": False, "state": {"a": 1}, "history_size": 1}
    assert standing_options([rule("/a/", **open_to_all, options=chosen)], "/a/") == {
        "moderated": False, "history_size": 1,
    }  # fmt: skip
    asking = rule("/a/", **{**open_to_all, "create": "handlers"}, options=chosen)
    assert standing_options([asking], "/a/") == {"moderated": True}
    assert standing_options([], "/a/") == {"moderated": True}
    broken = Rule("p", "/a/<hex:x>", None, **open_to_all, options=chosen)
    assert standing_options([broken], "/a/1") == {"moderated": True}


audiences = st.sampled_from(Audience.values)


@given(st.tuples(audiences, audiences, audiences), st.sampled_from(["", "alice"]), st.booleans())
def test_an_unmoderated_channel_is_open_to_everyone(
    chosen: tuple[str, str, str], name: str, moderated: bool
) -> None:
    """Whatever Hookbox would not ask about, the policies would allow anybody."""
    create, subscribe, publish = chosen
    plain = rule("/a/", create=create, subscribe=subscribe, publish=publish)
    options = {"moderated": moderated, **plain.forced_options()}
    decider = rule("/a/", create=create, subscribe=subscribe, publish=publish, options=options)
    for_code = Terms(trusted=True, send_signals=False, rules=[decider])
    created = decide(Operation.CREATE, VISITOR, "/a/", terms=for_code)
    if not created.allowed:
        return
    terms = Terms(rules=[decider], who=Who(name))
    for operation in (Operation.SUBSCRIBE, Operation.PUBLISH):
        asked = created.options["moderated"] or created.options.get(f"moderated_{operation}")
        decision = decide(operation, VISITOR, "/a/", terms=terms)
        assert asked or decision.allowed


# ---- the cache of rules


def test_rules_load_with_one_query(make_policy: MakePolicy, django_assert_num_queries: Any) -> None:
    groups = [Group.objects.create(name=name) for name in "ab"]
    make_policy("/a/", order=2).groups.set(groups)
    make_policy("/b/", order=1)
    with django_assert_num_queries(1):
        loaded = store.load()
    assert [(r.text, r.groups) for r in loaded] == [
        ("/b/", frozenset()), ("/a/", {group.pk for group in groups}),
    ]  # fmt: skip


def test_a_policy_with_a_malformed_pattern_closes_its_channels(
    make_policy: MakePolicy, alice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_policy("/rooms/<hex:x>/", "broken", order=1)
    make_policy("/<path:x>", "wide", order=2)
    assert decide("subscribe", alice, "/rooms/ff/").decided_by == "policy:broken"
    assert decide("subscribe", alice, "/halls/ff/").allowed
    assert "broken" in caplog.text


def test_who_edits_sees_the_edit_at_once(make_policy: MakePolicy, alice: Any) -> None:
    edited = make_policy("/b/")
    assert decide("subscribe", alice, "/b/").allowed
    edited.subscribe_audience = "nobody"
    edited.save()
    assert not decide("subscribe", alice, "/b/").allowed
    edited.delete()
    assert decide("subscribe", alice, "/b/").decided_by == "nobody"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("told")
class TestCache:
    def test_is_kept_for_a_second_and_dropped_on_commit(self, make_policy: MakePolicy) -> None:
        clock = Clock(0.0)
        cache = store.Cache(clock=clock)
        assert cache.get() == ()
        make_policy("/a/")
        assert cache.get() == ()  # another process's: it knows nothing of the edit
        assert len(cache.get(fresh=True)) == 1
        ChannelPolicy.objects.all().delete()
        clock.now += store.TTL * 0.9
        assert len(cache.get()) == 1
        clock.now += store.TTL
        assert cache.get() == ()

    def test_asks_the_database_only_when_it_must(
        self, make_policy: MakePolicy, django_assert_num_queries: Any
    ) -> None:
        make_policy("/a/")
        store.cache.get()
        with django_assert_num_queries(0):
            store.cache.get()

    def test_others_see_an_edit_when_it_is_committed(self, make_policy: MakePolicy) -> None:
        edited = make_policy("/a/")
        assert store.cache.get()[0].text == "/a/"

        def elsewhere() -> str:
            seen: list[str] = []

            def look() -> None:
                try:
                    seen.append(store.cache.get()[0].text)
                finally:
                    connection.close()

            thread = threading.Thread(target=look)
            thread.start()
            thread.join(10)
            return seen[0]

        with transaction.atomic():
            edited.pattern = "/b/"
            edited.save()
            assert store.cache.get()[0].text == "/b/"
            assert elsewhere() == "/a/"
        assert elsewhere() == store.cache.get()[0].text == "/b/"
        edited.pattern = "/c/"
        with transaction.atomic():
            edited.save()
            transaction.set_rollback(True)
        assert elsewhere() == store.cache.get()[0].text == "/b/"

    def test_is_not_filled_with_what_was_dropped_meanwhile(self, make_policy: MakePolicy) -> None:
        def load() -> tuple[Rule, ...]:
            loaded = store.load()
            if not loaded:  # an edit is committed while the old state is on its way
                make_policy("/a/")
                cache.drop()
            return loaded

        cache = store.Cache(load)
        assert cache.get() == ()
        assert len(cache.get()) == 1

    @pytest.mark.usefixtures("real_process")
    def test_a_transaction_loads_once_for_itself_and_then_for_all(
        self, make_policy: MakePolicy, django_assert_num_queries: Any
    ) -> None:
        """A process that publishes only in transactions would otherwise load for each message."""
        make_policy("/a/")
        clock = Clock(0.0)
        cache = store.Cache(clock=clock)
        with transaction.atomic():
            with django_assert_num_queries(1):
                assert cache.get() == cache.get()
            # Not by signals: others do not see it, and the transaction does after a moment.
            ChannelPolicy.objects.update(pattern="/b/")
            assert cache._held is None
            assert cache.get()[0].text == "/a/"
            clock.now += store.TTL
            assert cache.get()[0].text == "/b/"
            transaction.set_rollback(True)
        with transaction.atomic():
            assert cache.get()[0].text == "/a/", "what was rolled back is gone at once"
        assert cache._held is not None
        with transaction.atomic(), django_assert_num_queries(0):
            cache.get()

    @pytest.mark.usefixtures("real_process")
    def test_what_a_transaction_has_loaded_ends_with_an_edit_and_with_its_savepoint(
        self, make_policy: MakePolicy, django_assert_num_queries: Any
    ) -> None:
        make_policy("/a/")
        cache = store.Cache()
        with transaction.atomic():
            with transaction.atomic():
                cache.get()
                transaction.set_rollback(True)
            with django_assert_num_queries(1):
                cache.get()
            cache.drop()  # another thread has committed an edit
            with django_assert_num_queries(1):
                cache.get()

    def test_tests_of_a_site_see_no_callbacks_of_it(self, make_policy: MakePolicy) -> None:
        with transaction.atomic():
            store.Cache().get()
            assert connection.run_on_commit == []
