"""All functions that sites call are refused in async code and only raise HookboxErrors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils.functional import SimpleLazyObject

import djhookbox
from djhookbox.audit import outside
from djhookbox.client import http
from djhookbox.decisions.store import cache
from djhookbox.handlers import register_channel_handler
from djhookbox.models import ChannelPolicy, Publication

from .needs import need
from .projects import ROOT, Project
from .stand_ins.process import FakeHookbox, fake_hookbox

#: All functions that block, with what each does to a channel or a user.
TEMPLATE = "djhookbox/script.html"  # any

CALLS: dict[str, Callable[[Any], Any]] = {
    "publish": lambda user: djhookbox.publish("/a/", 1, user=user),
    "publish_many": lambda user: djhookbox.publish_many([("/a/", 1)], user=user),
    "publish_template": lambda user: djhookbox.publish_template("/a/", TEMPLATE, {"config": {}}),
    "create": lambda user: djhookbox.create("/a/"),
    "channel_info": lambda user: djhookbox.channel_info("/a/"),
    "set_channel_options": lambda user: djhookbox.set_channel_options("/a/", reflective=False),
    "state_set": lambda user: djhookbox.state_set("/a/", "key", 1),
    "state_delete": lambda user: djhookbox.state_delete("/a/", "key"),
    "subscribe": lambda user: djhookbox.subscribe("/a/", user),
    "unsubscribe": lambda user: djhookbox.unsubscribe("/a/", user),
    "disconnect": lambda user: djhookbox.disconnect(user),
    "server_info": lambda user: djhookbox.server_info(),
    "cursor": lambda user: djhookbox.cursor("/a/"),
}

#: Those that ask the database before they call, and what they do if it fails.
ASKING = (
    "publish",
    "publish_many",
    "publish_template",
    "create",
    "set_channel_options",
    "subscribe",
)


@pytest.fixture(autouse=True)
def nothing_is_written_later() -> Iterator[None]:
    yield
    assert outside.finish(10)


@pytest.fixture
def hookbox(settings: Any) -> Iterator[FakeHookbox]:
    http.forget_connections()
    with fake_hookbox() as fake:
        settings.HOOKBOX_REST_URL = fake.url
        outcomes = [{"delivered": 1}]
        fake.replies(True, {"delivered": 1, "disconnected": 1, "cursor": "c", "outcomes": outcomes})
        yield fake
    http.forget_connections()


@pytest.fixture
def policy(db: None, hookbox: FakeHookbox) -> None:
    ChannelPolicy.objects.create(name="a", pattern="/a/", history_size=1)
    hookbox.requests.clear()


def test_no_function_that_blocks_is_forgotten() -> None:
    others = {"apublish", "apublish_many", "acursor", "connect_token", "whcallback"}
    others |= {"batch_safe", "notify", "register_channel_handler", "unregister_channel_handler"}
    functions = {
        name
        for name in djhookbox.__all__
        if callable(getattr(djhookbox, name)) and not isinstance(getattr(djhookbox, name), type)
    }
    assert functions - others == set(CALLS)


# ---- asynchronous code


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", sorted(CALLS))
async def test_what_blocks_is_refused_before_anything_is_done(
    name: str, hookbox: FakeHookbox, policy: None
) -> None:
    await sync_to_async(cache.get)()  # with which publish() used to get as far as sending
    with pytest.raises(djhookbox.HookboxSynchronousOnly) as caught:
        CALLS[name]("eve")
    assert isinstance(caught.value, djhookbox.HookboxError)
    assert isinstance(caught.value, SynchronousOnlyOperation)
    instead = {"publish": "await djhookbox.apublish(…)", "cursor": "await djhookbox.acursor(…)"}
    instead["publish_many"] = "await djhookbox.apublish_many(…)"
    assert instead.get(name, f"await sync_to_async(djhookbox.{name})(…)") in str(caught.value)
    assert hookbox.requests == []
    assert await Publication.objects.acount() == 0


@pytest.mark.django_db(transaction=True)
async def test_what_the_advice_says_works(hookbox: FakeHookbox, policy: None) -> None:
    await djhookbox.apublish("/a/", 1)
    assert await djhookbox.acursor("/a/") == "c"
    for name in CALLS:
        await sync_to_async(CALLS[name])("eve")
    assert len(hookbox.requests) == len(CALLS) + 2


@pytest.mark.django_db(transaction=True)
async def test_where_django_may_block_we_may(
    hookbox: FakeHookbox, policy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    try:
        assert djhookbox.publish("/a/", 1) == 1
        assert Publication.objects.count() == 1
    finally:
        # Opened in the event loop, the connection belongs to this task and not to the thread, and
        # pytest-django does not know it.
        connection.close()


# ---- databases that fail


def break_transaction() -> None:
    """Break the transaction like code that catches too many exceptions."""
    with pytest.raises(IntegrityError), transaction.atomic(savepoint=False):
        Group.objects.bulk_create([Group(name="twice"), Group(name="twice")])
    assert connection.needs_rollback


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", sorted(CALLS))
def test_in_a_broken_transaction(
    name: str, hookbox: FakeHookbox, policy: None, caplog: pytest.LogCaptureFixture
) -> None:
    with transaction.atomic():
        break_transaction()
        cache.drop()
        if name in ASKING:
            with pytest.raises(djhookbox.HookboxDatabaseError) as caught:
                CALLS[name]("eve")
            assert isinstance(caught.value.__cause__, transaction.TransactionManagementError)
            assert "atomic" in caught.value.reason
        else:
            # A page without a cursor is still a page.
            assert CALLS[name]("eve") != "c"
            assert ("Cannot get a cursor for /a/" in caplog.text) == (name == "cursor")
    assert len(hookbox.requests) == (name not in (*ASKING, "cursor"))
    if name in ("publish", "publish_many"):
        assert outside.finish(10)  # another thread writes it, with a connection of its own
        assert Publication.objects.get().status == "failed"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["publish", "subscribe", "unsubscribe", "disconnect"])
def test_a_user_who_cannot_be_loaded(name: str, hookbox: FakeHookbox, policy: None) -> None:
    """`request.user` asks the database when it is used."""
    with transaction.atomic():
        break_transaction()
        lazy = SimpleLazyObject(lambda: User.objects.get(pk=1))
        for call in (CALLS[name], djhookbox.connect_token):
            with pytest.raises(djhookbox.HookboxDatabaseError) as caught:
                call(lazy)
            assert isinstance(caught.value.__cause__, DatabaseError)
    assert hookbox.requests == []


@pytest.mark.django_db(transaction=True)
def test_a_handler_whose_query_fails_has_not_refused(hookbox: FakeHookbox) -> None:
    class Handler:
        def create(self, user: object, channel: str) -> Any:
            return {} if User.objects.filter(username=channel).exists() else None

    register_channel_handler(Handler())
    with transaction.atomic():
        cache.get()
        break_transaction()
        with (
            mock.patch.object(cache, "get", return_value=()),
            pytest.raises(djhookbox.HookboxDatabaseError),
        ):
            djhookbox.publish("/a/", 1)
    assert hookbox.requests == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["apublish", "acursor"])
async def test_asynchronous_functions_have_the_same_errors(
    name: str, hookbox: FakeHookbox, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.object(cache, "get", side_effect=DatabaseError("the disk is full")):
        if name == "apublish":
            with pytest.raises(djhookbox.HookboxDatabaseError, match="the disk is full"):
                await djhookbox.apublish("/a/", 1)
            assert await sync_to_async(outside.finish)(10)
            assert (await Publication.objects.aget()).status == "failed"
        else:
            assert await djhookbox.acursor("/a/") == ""
            assert "the disk is full" in caplog.text
    assert hookbox.requests == []


def test_users_without_a_name_or_an_account(hookbox: FakeHookbox) -> None:
    for call in (djhookbox.disconnect, djhookbox.connect_token):
        with pytest.raises(djhookbox.UserNameError) as caught:
            call(AnonymousUser())
        assert isinstance(caught.value, djhookbox.HookboxRefused)
        assert isinstance(caught.value, ValueError)


@pytest.mark.django_db
def test_halves_of_surrogate_pairs(hookbox: FakeHookbox, policy: None) -> None:
    for call in (
        lambda: djhookbox.disconnect("eve", reason="\ud800"),
        lambda: djhookbox.unsubscribe("/a/", "\ud800"),
        lambda: djhookbox.state_set("/a/", "\ud800", 1),
        lambda: djhookbox.publish("/a/", 1, user="\ud800"),
    ):
        with pytest.raises(djhookbox.PayloadError, match="surrogate"):
            call()
    assert hookbox.requests == []


# ---- PostgreSQL, whose connections can be cut

WORKER = """
from django.db import OperationalError, connection, connections, transaction
import djhookbox
from djhookbox.decisions.store import cache
from djhookbox.handlers import register_channel_handler
from djhookbox.models import ChannelPolicy, Publication
from tests.stand_ins.process import fake_hookbox
from django.conf import settings

def cut():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with connections["operator"].cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert cursor.fetchone()[0]

class Handler:
    def create(self, user, channel):
        if channel == "/handled/":
            return {"history_size": ChannelPolicy.objects.count()}

register_channel_handler(Handler())
ChannelPolicy.objects.create(name="a", pattern="/a/")
with fake_hookbox() as fake:
    settings.HOOKBOX_REST_URL = fake.url
    fake.replies(True, {"delivered": 1})
    expected = 0
    for warm in (False, True):
        for channel in ("/a/", "/handled/"):
            cache.get()
            cut()
            if not warm:
                cache.drop()
            assert djhookbox.publish(channel, 1) == 1
            expected += 1
            assert Publication.objects.filter(status="sent").count() == expected
    cut()
    cache.drop()
    djhookbox.create("/handled/")
    assert fake.requests[-1].call == "create_channel"

    sent = len(fake.requests)
    try:
        with transaction.atomic():
            cut()
            for channel in ("/a/", "/handled/"):
                cache.drop()
                for call in (djhookbox.publish, djhookbox.create):
                    try:
                        call(channel, {})
                    except djhookbox.HookboxError as error:
                        assert isinstance(error, djhookbox.HookboxDatabaseError), error
                        assert error.__cause__ is not None
                    else:
                        raise AssertionError("it was sent")
    except Exception as error:
        assert not isinstance(error, AssertionError), error
    assert len(fake.requests) == sent
    assert djhookbox.publish("/a/", 1) == 1
    print("all is well")
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_worker_gets_over_a_cut_connection(tmp_path: Path) -> None:
    from bench.postgres import Cluster, NoPostgreSQL

    try:
        cluster = Cluster()
    except NoPostgreSQL as error:
        need(False, str(error))
    with cluster:
        project = Project(tmp_path)
        databases = {"default": cluster.settings(), "operator": cluster.settings()}
        project.write_site(
            ["djhookbox"],
            urls="from django.urls import include, path\n"
            "urlpatterns = [path('hookbox/', include('djhookbox.urls'))]\n",
            settings=f"DATABASES = {databases!r}\n",
        )
        project.manage("migrate", "-v0")
        project.write("worker.py", WORKER)
        printed = project.manage("shell", "-c", "import worker", PYTHONPATH=str(ROOT))
        assert "all is well" in printed
