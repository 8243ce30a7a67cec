"""Batches of webhooks: which sites get them, which calls must be made alone, and the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import cache as django_cache
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

import djhookbox
from djhookbox import signals, views
from djhookbox.batches.rule import Alone, site_problems, why_alone
from djhookbox.models import ChannelPolicy, ConnectionLog, SubscriptionLog
from djhookbox.users import identity
from djhookbox.wire import batches, replies
from djhookbox.wire.replies import BatchReply

from .conftest import BatchedWebhooks, Webhooks

pytestmark = pytest.mark.django_db

MakePolicy = Callable[..., ChannelPolicy]

SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"


class OwnSessions(SessionMiddleware):
    """A subclass that a site may have."""


class SessionStore(DatabaseSessions):
    """The store of a site that uses this module as its SESSION_ENGINE."""


class Timing:
    """A middleware that does nothing to webhooks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


class OwnBackend(ModelBackend):
    """A backend that loads users in its own way."""

    def get_user(self, user_id: Any) -> Any:
        return super().get_user(user_id)


class Choosy(ModelBackend):
    """A backend that only chooses who may log in."""

    def user_can_authenticate(self, user: Any) -> bool:
        return bool(user.username != "bob")


Made = tuple[dict[str, str], str]


def made(page: Webhooks, action: str, **fields: str) -> Made:
    """Return a call of a page for a batch."""
    own = {"conn_id": "c1"} if action == "connect" else page.fields
    cookies = page.client.cookies.items()
    cookie = "; ".join(f"{name}={each.value}" for name, each in cookies)
    return {"action": action, **own, **fields}, cookie


def post(*calls: Made) -> list[Any]:
    """Send a batch and return its answers."""
    response = BatchedWebhooks().post_batch(calls)
    success, options = json.loads(response.content)
    assert success
    assert len(options["answers"]) == len(calls)
    answers: list[Any] = options["answers"]
    return answers


def single(call: Made) -> list[Any]:
    """Return the answer to the same call, made alone."""
    fields, cookie = call
    page = Webhooks()
    page.client.cookies.load(cookie)
    page.fields = {}
    response = page.post(fields["action"], **{"conn_id": None, **fields})  # type: ignore[arg-type]
    return [response.status_code, json.loads(response.content)]


# ---- the rule for a call


def test_a_call_is_answered_unless_a_clause_forbids_it() -> None:
    assert why_alone(0.0, None, by_fallback=False, code=()) is None
    assert why_alone(0.249, Choosy(), by_fallback=False, code=()) is None


def test_a_call_is_made_alone_if_others_have_taken_too_long() -> None:
    assert why_alone(0.25, None, by_fallback=False, code=()) is Alone.TIME


@pytest.mark.parametrize("backend", [OwnBackend(), object()])
def test_a_call_is_made_alone_if_its_backend_has_its_own_get_user(backend: object) -> None:
    assert why_alone(0, backend, by_fallback=False, code=()) is Alone.BACKEND


def test_a_call_is_made_alone_if_only_a_fallback_hash_fits() -> None:
    assert why_alone(0, ModelBackend(), by_fallback=True, code=()) is Alone.FALLBACK


def test_a_call_is_made_alone_if_code_that_is_not_safe_would_run() -> None:
    def receiver() -> None: ...

    assert why_alone(0, None, by_fallback=False, code=[receiver]) is Alone.CODE
    djhookbox.batch_safe(receiver)
    assert why_alone(0, None, by_fallback=False, code=[receiver]) is None
    assert why_alone(0, None, by_fallback=False, code=[receiver, print]) is Alone.CODE


# ---- the rule for a site


def accepts() -> bool:
    response = Client().get("/hookbox/connect")
    return "batch" in response.headers["X-Hookbox-Accepts"].split(", ")


def test_a_site_with_the_middleware_of_startproject_accepts_batches() -> None:
    assert site_problems() == ()
    assert accepts()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"MIDDLEWARE": ["tests.test_batches.Timing"]}, "HOOKBOX_BATCH_MIDDLEWARE"),
        ({"MIDDLEWARE": ["django.contrib.auth.middleware.RemoteUserMiddleware"]}, "RemoteUser"),
        ({"SESSION_ENGINE": "tests.test_batches"}, "SESSION_ENGINE, tests.test_batches"),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.file"}, "backends.file"),
        ({"SESSION_SAVE_EVERY_REQUEST": True}, "SESSION_SAVE_EVERY_REQUEST"),
    ],
)
def test_what_keeps_a_site_from_accepting_batches(
    change: dict[str, Any], problem: str, settings: Any, webhooks: type[Webhooks], alice: Any
) -> None:
    page = webhooks(alice) if "SESSION_ENGINE" not in change else webhooks()
    for name, value in change.items():
        setattr(settings, name, [*settings.MIDDLEWARE, *value] if name == "MIDDLEWARE" else value)
    (found,) = site_problems()
    assert problem in found
    assert not accepts()
    # A server that does not know it yet is asked to make each call alone.
    assert post(made(page, "connect")) == [None]


@pytest.mark.parametrize("middleware", ["session", "authentication"])
def test_session_and_authentication_middleware_must_be_djangos(
    middleware: str, settings: Any
) -> None:
    if middleware == "session":
        own = [m if m != SESSION else "tests.test_batches.OwnSessions" for m in settings.MIDDLEWARE]
        settings.MIDDLEWARE = own
        settings.HOOKBOX_BATCH_MIDDLEWARE = ["tests.test_batches.OwnSessions"]
    else:
        settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if "auth" not in m]
    (problem,) = site_problems()
    assert "is not in MIDDLEWARE" in problem
    assert not accepts()


def test_a_site_can_name_middleware_that_does_nothing(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.test_batches.Timing"]
    assert not accepts()
    settings.HOOKBOX_BATCH_MIDDLEWARE = ["tests.test_batches.Timing"]
    assert accepts()


# ---- answers


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decide every call at once, however busy the machine is."""
    monkeypatch.setattr(views._batches, "_clock", lambda: 0.0)


@pytest.fixture
def pages(make_user: Any) -> list[Webhooks]:
    return [Webhooks(make_user(f"user {number}")) for number in range(3)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("told")
def test_many_calls_cost_few_queries(make_user: Any, make_policy: MakePolicy) -> None:
    group = Group.objects.create(name="readers")
    make_policy("/a/", subscribe_audience="groups").groups.add(group)
    calls = []
    for number in range(30):
        user = make_user(f"user {number}")
        if number % 2:
            user.groups.add(group)
        page = Webhooks(user)
        calls += [made(page, "connect"), made(page, "subscribe", channel_name="/a/")]
    with CaptureQueriesContext(connection) as queries:
        answers = post(*calls)
    # Sessions, policies, bans, users, their groups; two inserts, each in a transaction.
    assert len(queries) <= 5 + 2 * 3
    assert [answer[1][0] for answer in answers] == [True, False, True, True] * 15
    rows = SubscriptionLog.objects.order_by("pk").values_list("user_name", "event")
    kinds = ("refused", "subscribe")
    assert list(rows) == [(f"user {number}", kinds[number % 2]) for number in range(30)]
    names = ConnectionLog.objects.order_by("pk").values_list("user_name", flat=True)
    assert list(names) == [f"user {number}" for number in range(30)]


def test_each_call_is_answered_as_if_made_alone(
    pages: list[Webhooks], make_policy: MakePolicy, make_user: Any
) -> None:
    make_policy("/a/", subscribe_audience="signed_in")
    make_policy("/named/<user>/", subscribe_audience="named_user")
    ended, changed, inactive, other = (
        Webhooks(make_user(name)) for name in ("ended", "changed", "inactive", "other")
    )
    ended.client.logout()
    made_earlier = Webhooks.__new__(Webhooks)
    made_earlier.__dict__ = {**other.__dict__, "client": pages[0].client}
    for name in ("changed", "inactive"):
        user = type(make_user(f"{name} helper")).objects.get(username=name)
        if name == "changed":
            user.set_password("new")
        else:
            user.is_active = False
        user.save()
    anonymous = Webhooks()
    calls = [
        *(made(page, "connect") for page in (*pages, ended, changed, inactive, other, anonymous)),
        *(
            made(page, "subscribe", channel_name=channel)
            for page in (*pages, ended, changed, inactive, other, anonymous, made_earlier)
            for channel in ("/a/", "/named/user 1/", "/closed/", "/a/\x00")
        ),
        made(pages[0], "publish", channel_name="/a/", payload="{"),
        made(pages[0], "publish", channel_name="/closed/", payload="1"),
        made(pages[1], "message", sender="user 1", recipient="user 0", payload="1"),
        made(pages[0], "disconnect", name="user 0"),
        made(ended, "unsubscribe", channel_name="/a/"),
        made(pages[0], "destroy_channel", channel_name="/a/"),
        made(pages[0], "create_channel", channel_name="/a/"),
        made(
            pages[0], "subscribe_many",
            channels='[{"channel_name": "/a/", "create": true}, {"channel_name": "/closed/"}]',
        ),
    ]  # fmt: skip
    answers = post(*calls)
    for call, answer in zip(calls, answers, strict=True):
        expected = single(call)
        if call[0]["action"] == "connect":  # anonymous names are random
            for each in (answer, expected):
                if str(each[1][1].get("name")).startswith(" _"):
                    each[1][1]["name"] = " _"
                if "expires" in each[1][1]:  # seconds from then
                    each[1][1]["expires"] = round(each[1][1]["expires"], -2)
        assert answer == expected, call


def test_a_batch_needs_the_secret_and_knows_only_decisions(pages: list[Webhooks]) -> None:
    form = {"action": "batch", "calls": "[]", "secret": "wrong"}
    assert Client().post("/hookbox/batch", form).status_code == 403
    inner = [{"action": name} for name in ("events", "recheck", "prune", "batch", "", "x")]
    answers = post(*((fields, "") for fields in inner), made(pages[0], "connect"))
    assert [answer[0] for answer in answers] == [400] * len(inner) + [200]


def test_a_call_that_fails_is_made_alone_and_leaves_no_row(
    pages: list[Webhooks], make_policy: MakePolicy, caplog: Any
) -> None:
    make_policy("/a/")
    original = views.decide

    def failing(operation: Any, user: Any, *args: Any, **kwargs: Any) -> Any:
        if user.username == "user 1":
            raise RuntimeError("out of order")
        return original(operation, user, *args, **kwargs)

    calls = [made(page, "subscribe", channel_name="/a/") for page in pages]
    with mock.patch.object(views, "decide", failing):
        answers = post(*calls)
    assert [answer and answer[1] for answer in answers] == [[True, {}], None, [True, {}]]
    assert set(SubscriptionLog.objects.values_list("user_name", flat=True)) == {"user 0", "user 2"}
    assert "out of order" in caplog.text


def test_a_slow_site_leaves_the_rest_undecided(
    pages: list[Webhooks], make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_policy("/a/")
    now = iter(range(0, 10**6, 200))
    monkeypatch.setattr(views._batches, "_clock", lambda: next(now) / 1000)
    answers = post(*(made(page, "subscribe", channel_name="/a/") for page in pages))
    # The second call begins after 200 ms, the third after 400 ms.
    assert [answer and answer[1] for answer in answers] == [[True, {}], [True, {}], None]
    assert SubscriptionLog.objects.count() == 2


def test_the_first_call_is_decided_however_slow_the_site_is(
    pages: list[Webhooks], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 10**6, 1000))
    monkeypatch.setattr(views._batches, "_clock", lambda: next(now))
    answers = post(*(made(page, "connect") for page in pages))
    assert [answer is not None for answer in answers] == [True, False, False]


def test_a_log_that_fails_decides_nothing(
    pages: list[Webhooks], make_policy: MakePolicy, caplog: Any
) -> None:
    make_policy("/a/")
    create = "django.db.models.query.QuerySet.bulk_create"
    with mock.patch(create, side_effect=OperationalError("disk full")):
        answers = post(*(made(page, "subscribe", channel_name="/a/") for page in pages))
    assert [answer[1] for answer in answers] == [[True, {}]] * 3
    assert "disk full" in caplog.text


# ---- sessions and users


ENGINES = ("db", "cached_db", "cache", "signed_cookies")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cookie", ["sessionid", "renamed"])
def test_every_store_of_django(
    engine: str, cookie: str, settings: Any, make_user: Any, django_assert_max_num_queries: Any
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_COOKIE_NAME = cookie
    try:
        pages = [Webhooks(make_user(f"user {number}")) for number in range(5)]
        unknown = "0123456789abcdef0123456789abcdef"
        others = [({"action": "connect"}, f"{cookie}={key}") for key in (unknown, "short", "")]
        names = [f"user {number}" for number in range(5)]
        for _ in range(2):
            answers = post(*(made(page, "connect") for page in pages), *others)
            assert [answer[1][1]["name"] for answer in answers[:5]] == names
            assert [answer[1][1]["identity"] for answer in answers[5:]] == ["anonymous"] * 3
            identities = [answer[1][1]["identity"] for answer in answers[:5]]
            assert identities == [page.fields["identity"] for page in pages]
            if engine == "cached_db":
                django_cache.clear()  # then it reads the database
    finally:
        django_cache.clear()


def test_an_expired_session_is_none(settings: Any, alice: Any) -> None:
    page = Webhooks(alice)
    session = page.client.session
    session.set_expiry(-5)
    session.save()
    assert post(made(page, "connect"))[0][1][1]["identity"] == "anonymous"


def test_a_session_whose_user_is_gone_or_whose_backend_is_removed(
    settings: Any, make_user: Any
) -> None:
    gone, removed, odd, garbled = (
        Webhooks(make_user(name)) for name in ("gone", "removed", "odd", "garbled")
    )
    for page, key, value in (
        (gone, "_auth_user_id", "987654321"),
        (removed, "_auth_user_backend", "no.such.Backend"),
        (odd, "_auth_user_hash", ""),
        (garbled, "_auth_user_id", "x"),
    ):
        session = page.client.session
        session[key] = value
        session.save()
    answers = post(*(made(page, "connect") for page in (gone, removed, odd, garbled)))
    assert [answer[1][1]["identity"] for answer in answers[:3]] == ["anonymous"] * 3
    assert answers[3] is None  # alone it fails in Django itself


def test_a_rotated_key_is_left_to_single_calls(settings: Any, pages: list[Webhooks]) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next of the keys"
    assert post(made(pages[0], "connect"), made(Webhooks(), "connect"))[0] is None


def test_backends(settings: Any, make_user: Any) -> None:
    bob, carol = make_user("bob"), make_user("carol")
    settings.AUTHENTICATION_BACKENDS = [
        "tests.test_batches.Choosy", "tests.test_batches.OwnBackend",
    ]  # fmt: skip
    calls = []
    for user in (bob, carol):
        for backend in settings.AUTHENTICATION_BACKENDS:
            page = Webhooks()
            page.client.force_login(user, backend=backend)
            calls.append(made(page, "connect"))
    answers = post(*calls)
    assert answers[0][1][1]["identity"] == "anonymous"  # may no longer log in
    assert answers[2][1][1]["name"] == "carol"
    assert answers[1] is answers[3] is None


def test_two_tabs_of_a_user_do_not_share_an_object(alice: Any, make_policy: MakePolicy) -> None:
    make_policy("/a/")
    seen: list[Any] = []

    @djhookbox.batch_safe
    def receiver(sender: Any, **kwargs: Any) -> None:
        sender.username = "renamed"  # in memory only
        seen.append(sender)

    page = Webhooks(alice)
    signals.subscribe.connect(receiver)
    try:
        answers = post(*[made(page, "subscribe", channel_name="/a/")] * 3)
    finally:
        signals.subscribe.disconnect(receiver)
    assert [answer[1] for answer in answers] == [[True, {}]] * 3
    assert len({id(user) for user in seen}) == 3


def test_tokens(alice: Any, make_policy: MakePolicy) -> None:
    make_policy("/a/", subscribe_audience="signed_in")
    token = djhookbox.connect_token(alice)
    calls: list[Made] = [
        ({"action": "connect", "token": token, "conn_id": name}, "") for name in ("t1", "t2")
    ]
    first, second = post(*calls)
    assert first[1][1]["name"] == "alice"
    assert second[1][1]["code"] == "session_expired"
    fields = {"user": "alice", "identity": identity.token_identity(alice), "channel_name": "/a/"}
    (answer,) = post(({"action": "subscribe", **fields}, ""))
    assert answer == [200, [True, {}]]


def test_a_batch_writes_no_session(settings: Any, pages: list[Webhooks]) -> None:
    from django.contrib.sessions.models import Session

    before = list(Session.objects.order_by("pk").values())
    cookie = made(pages[0], "connect")[1]
    form = {"action": "batch", "secret": "wrong", "calls": "[]"}
    Client().post("/hookbox/batch", form, headers={"Cookie": cookie})
    post(*(made(page, "connect") for page in pages))
    assert list(Session.objects.order_by("pk").values()) == before


# ---- languages


def test_each_call_has_its_own_language(settings: Any, make_policy: MakePolicy) -> None:
    make_policy("/a/", subscribe_audience="signed_in")
    fields = {"identity": "anonymous", "user": " _x", "channel_name": "/a/"}
    call = {"action": "subscribe", **fields}
    calls = [(call, f"django_language={code}") for code in ("de", "en", "de", "xx")] + [(call, "")]
    english = [200, [False, dict.fromkeys(("error", "msg"), mock.ANY) | {"code": "refused"}]]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOCALE]
    texts = [answer[1][1]["error"] for answer in post(*calls)]
    assert texts[0] == texts[2] == "Nur angemeldete Benutzer dürfen das hier tun."
    assert texts[1] == texts[3] == texts[4] == "Only signed-in users may do this here."
    settings.MIDDLEWARE = [m for m in settings.MIDDLEWARE if m != LOCALE]
    assert {answer[1][1]["error"] for answer in post(*calls)} == {texts[1]}
    assert post(calls[0]) == [english]


# ---- the project's code


@pytest.fixture
def receive() -> Iterator[Callable[..., None]]:
    """Connect receivers for the length of a test."""
    connected: list[Any] = []

    def connect(signal: Any, receiver: Any) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_calls_whose_receivers_are_not_safe_are_made_alone(
    receive: Any, pages: list[Webhooks], make_policy: MakePolicy
) -> None:
    """A receiver may save the user, which the next call must see."""
    make_policy("/a/")
    heard: list[str] = []

    def count(sender: Any, **kwargs: Any) -> None:
        heard.append(sender.username)
        sender.first_name = "was here"
        sender.save()

    receive(signals.subscribe, count)
    subscribe = made(pages[0], "subscribe", channel_name="/a/")
    answers = post(made(pages[0], "connect"), subscribe)
    assert answers[0][1][0]
    assert answers[1] is None
    assert heard == []
    assert not SubscriptionLog.objects.exists()
    assert single(subscribe) == [200, [True, {}]]
    assert heard == ["user 0"]


def test_safe_receivers_refuse_in_a_batch(
    receive: Any, pages: list[Webhooks], make_policy: MakePolicy
) -> None:
    make_policy("/a/")

    @djhookbox.batch_safe
    def refuse(sender: Any, **kwargs: Any) -> None:
        if sender.username == "user 1":
            raise PermissionDenied("not you")
        if sender.username == "user 2":
            raise RuntimeError("a bug")

    receive(signals.subscribe, refuse)
    answers = post(*(made(page, "subscribe", channel_name="/a/") for page in pages))
    assert answers[0] == [200, [True, {}]]
    assert answers[1][1][1]["error"] == "not you"
    assert answers[2][1][1]["code"] == "error"


class Rooms:
    """A handler."""

    def create(self, user: Any, channel: str) -> dict[str, object] | None:
        return {} if channel.startswith("/rooms/") else None


class SafeRooms(Rooms):
    batch_safe = True


def test_handlers(pages: list[Webhooks], make_policy: MakePolicy) -> None:
    make_policy("/a/")
    make_policy("/h/", create_audience="handlers", subscribe_audience="handlers")
    calls = [
        *(
            made(pages[0], action, channel_name=channel)
            for action in ("create_channel", "subscribe")
            for channel in ("/a/", "/h/", "/rooms/1/", "djhookbox:server")
        ),
        made(pages[0], "subscribe_many", channels='[{"channel_name": "/a/", "subscribe": true}]'),
        made(
            pages[0], "subscribe_many",
            channels='[{"channel_name": "/a/"}, {"channel_name": "/rooms/1/"}]',
        ),
        made(pages[0], "message", sender="user 0", recipient="user 1"),
    ]  # fmt: skip
    rooms = Rooms()
    djhookbox.register_channel_handler(rooms)
    alone = [answer is None for answer in post(*calls)]
    # Only what no policy decides is left to the handler.
    assert alone == [False, True, True, False] * 2 + [False, True, False]
    djhookbox.unregister_channel_handler(rooms)
    djhookbox.register_channel_handler(SafeRooms())
    answers = post(*calls)
    assert None not in answers
    for call, answer in zip(calls, answers, strict=True):
        assert answer == single(call)


def test_functions_for_all_operations_keep_everything_alone(pages: list[Webhooks]) -> None:
    @djhookbox.whcallback
    def observe(op: str, user: Any, *args: Any, **kwargs: Any) -> None:
        return None

    assert post(made(pages[0], "connect")) == [None]
    djhookbox.batch_safe(observe)
    assert post(made(pages[0], "connect"))[0][1][0]


# ---- the form of the answer


@pytest.mark.parametrize(
    "answers", [(), (1,), ([200],), (["200", []],), ([True, []],), (None, None)]
)
def test_answers_of_another_form_are_refused(answers: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="batch"):
        batches.read(BatchReply(answers), 1)


def test_answers_are_read_as_written() -> None:
    text = batches.write([batches.write_one(200, "[true,{}]"), None, batches.write_one(400, "1")])
    reply = replies.read(BatchReply, json.loads(text))
    assert isinstance(reply, BatchReply)
    assert batches.read(reply, 3) == [
        batches.Answered(200, [True, {}]), None, batches.Answered(400, 1),
    ]  # fmt: skip
